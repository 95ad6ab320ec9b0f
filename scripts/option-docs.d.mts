import type { ZodType } from 'zod';

export declare function docsOf(text: string): ReadonlyMap<string, string>;
export declare function inWords(ms: number): string;
export declare function withOptionDocs(
  declarations: string,
  docs: ReadonlyMap<string, string>,
  schemas: Readonly<Record<string, ZodType>>,
): string;
