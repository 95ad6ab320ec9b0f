function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const settings = {
  shopDatabase: setting('SHOP_DATABASE'),
  stockDatabase: setting('STOCK_DATABASE'),
  rabbitmqUrl: setting('RABBITMQ_URL'),
  redisUrl: setting('REDIS_URL'),
  merchant: setting('MERCHANT'),
};
