import { Injectable } from '@nestjs/common';
import { Notifications, NotifyModule } from 'nest-dtx/notify';
import { settings } from './settings.js';

@Injectable()
export class TellMerchants {
  constructor(private readonly notifications: Notifications) {}

  run(orderId: string): Promise<void> {
    const about = { id: orderId, gid: orderId, type: 'order.paid', at: new Date(), target: settings.merchant };
    return this.notifications.publish({ ...about, data: { orderId } });
  }
}

const allow = [new URL(settings.merchant).host]; // a private address
export const shop = {
  imports: [NotifyModule.forService({ service: 'shop', secrets: ['a-secret-of-some-length'], allow })],
  providers: [TellMerchants],
};
