import { BatchedReads, Order } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';

/** Reads orders for many callers at the same time in one statement. */
@Injectable()
export class OrderReads extends BatchedReads<Order> {
  constructor(db: DataSource) {
    super(
      (ids) => db.manager.getRepository(Order).findBy({ orderId: In(ids) }),
      ({ orderId }) => orderId,
    );
  }
}
