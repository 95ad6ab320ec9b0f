// Business rules, entities and message contracts that the apps share.

export { Account } from './accounts/account.entity.js';
export {
  captureFrozen,
  captureMoney,
  declinePayment,
  findAccount,
  findPayment,
  freezeMoney,
  releaseFrozen,
  setBalance,
} from './accounts/accounts.js';
export { accountsMigrations } from './accounts/migrations.js';
export { Payment } from './accounts/payment.entity.js';
export { BatchedReads } from './batched-reads.js';
export {
  bigint,
  NAME_COLUMN,
  ORDER_ID_COLUMN,
  WORD_COLUMN,
  wholeNumber,
} from './column-types.js';
export { databaseNow } from './database-clock.js';
export { appOf } from './failpoint-apps.js';
export type {
  ExpiryRequested,
  FlashSold,
  OrderExpired,
  OrderPlaced,
  PaymentCaptured,
  PaymentDeclined,
  PurchaseOnTheWay,
  StockChanged,
  StockRejected,
  StockRestocked,
  StockTaken,
} from './message-contracts.js';
export {
  expiryRequested,
  flashSold,
  orderExpired,
  orderPlaced,
  paymentCaptured,
  paymentDeclined,
  purchaseOnTheWay,
  stockChanged,
  stockRejected,
  stockRestocked,
  stockTaken,
} from './message-contracts.js';
export { ordersMigrations } from './orders/migrations.js';
export { Order } from './orders/order.entity.js';
export { listOrders, type OrderPage } from './orders/order-page.js';
export { cursorOf, type OrderFilters, type Position, positionOf } from './orders/order-page-cursor.js';
export { acceptedViewOf, viewOf } from './orders/order-view.js';
export {
  cancelOrder,
  confirmOrder,
  findOrder,
  insertConfirmedOrder,
  insertOrder,
  insertOrderBegun,
  insertOrderUnlessSettled,
  type NewOrder,
} from './orders/orders.js';
export {
  type InventoryStock,
  inventoryStock,
  type OrderCheckout,
  orderCheckout,
  type PaymentFunds,
  paymentFunds,
} from './participant-contracts.js';
export {
  NOTIFIER,
  type PaymentResult,
  paymentNotification,
  paymentResult,
  paymentResultBody,
  publishPaymentResult,
} from './payment-result-notification.js';
export { isSold, priceList, priceOf } from './prices.js';
export { PurchaseRefused } from './purchase-refused.js';
export type { OrderStatus, Purchase, PurchaseBody, Reason, Scheme } from './purchase-schemas.js';
export {
  AMOUNT_MAX,
  AVAILABLE_MAX,
  amountOf,
  cents,
  isOrderId,
  name,
  notifyUrl,
  ORDER_STATUSES,
  purchaseBody,
  purchaseView,
  QUANTITY_MAX,
  quantity,
  REASONS,
  reasonOf,
  SCHEMES,
  soldSku,
} from './purchase-schemas.js';
export { confirmOrderStep, placeOrderStep, takeMoneyStep, takeStockStep } from './saga-contracts.js';
export { stockMigrations } from './stock/migrations.js';
export { Stock } from './stock/stock.entity.js';
export {
  findStock,
  putBack,
  putBackOrRefuse,
  refuseStock,
  releaseReserved,
  reserveStock,
  restock,
  sellReserved,
  setAvailable,
  type TakeState,
  takeStock,
} from './stock/stock.js';
export { xaBranches } from './xa-branch-databases.js';
