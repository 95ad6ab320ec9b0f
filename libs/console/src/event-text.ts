/** The events of rows in Chinese. The apps name them in English, in `moments` of their tables. A test compares the lists. */
const CHINESE: ReadonlyArray<readonly [event: RegExp, text: string]> = [
  [/^committed with the business, to be sent later$/, '与业务一起提交，稍后发送'],
  [/^committed with the business$/i, '与业务一起提交'],
  [/^due$/, '到期'],
  [/^sent by now$/, '此时已发送'],
  [/^released by its predecessor$/, '前一条消息已结束，轮到它发送'],
  [/^first confirmed by the broker$/, '消息代理首次确认'],
  [/^confirmed by the broker, without receipts$/, '消息代理已确认，无回执'],
  [/^settled by every consumer$/, '所有消费者已处理'],
  [/^cancelled$/, '已取消'],
  [/^received by (.*)$/s, '$1 已收到'],
  [/^handled$/, '已处理'],
  [/^settled: (.*)$/s, '已结束：$1'],
  [/^settled$/, '已结束'],
  [/^ruled ROLLED_BACK$/, '裁定为 ROLLED_BACK'],
  [/^parked after its last check: outcome of the local transaction unknown$/, '最后一次回查后停放：本地事务结果未知'],
  [/^registered with all its branches$/, '已登记全部分支'],
  [/^decided to compensate \((.*)\)$/s, '决定补偿（$1）'],
  [/^decided to (.*)$/s, '决定 $1'],
  [/^applied by every branch$/, '所有分支已执行'],
  [/^applied to every branch$/, '已对所有分支执行'],
  [/^started$/, '开始'],
  [/^waits for a signal$/, '等待信号'],
  [/^reached the pivot$/, '到达枢轴步骤'],
  [/^every step undone$/, '所有步骤已撤销'],
  [/^every step done$/, '所有步骤已完成'],
  [/^begun on (.*)$/s, '在 $1 上开始'],
  [/^found prepared, without a decision in the log$/, '发现已准备的分支，日志中没有决定'],
  [/^found$/, '发现'],
  [/^recorded by the notification service$/, '通知服务已记录'],
  [/^recorded$/, '已记录'],
  [/^delivered to (.*)$/s, '已投递到 $1'],
  [/^closed by hand$/, '人工关闭'],
  [/^witness of (.*): (.*)$/s, '$1 的见证：$2'],
  [/^gave up: (.*)$/s, '放弃：$1'],
  [/^(retry|done|reject|reschedule|acknowledge|redrive) by an unnamed operator(.*)$/s, '未具名操作员执行 $1$2'],
  [/^(retry|done|reject|reschedule|acknowledge|redrive) by (.*)$/s, '操作 $1，操作员 $2'],
];

/** An event in the language of the page. One without a translation, such as that of a table of the app's own, stays. */
export function eventText(event: string, language: 'en' | 'zh'): string {
  if (language === 'en') return event;
  const [pattern, text] = CHINESE.find(([one]) => one.test(event)) ?? [];
  return pattern && text ? event.replace(pattern, text) : event;
}
