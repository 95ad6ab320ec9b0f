/** The commands' own modules, as far as the tests use them. */
declare module '*/scripts/audit/index.mjs' {
  export interface AuditReport {
    ok: boolean;
    nothing: boolean;
    world: string;
    parked: Array<{ gid: string; id: string; scheme: string }>;
    checks: Array<{ name: string; ok: boolean; figures: Record<string, number | string>; violations: string[] }>;
  }
  export function audit(world: object, options?: { settleMs?: number; brokerLagMs?: number }): Promise<AuditReport>;
}
