import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../fixtures/app-process.js';

const fileOf = (index: number) => join(ROOT, 'test', 'rules', `source-${index}.ts`);

/** What the compiler says of each source, with the decorators that Nest uses. Each source is one file beside this one. */
export function compilerProblems(sources: readonly string[]): string[][] {
  const config = ts.readConfigFile(join(ROOT, 'tsconfig.base.json'), ts.sys.readFile).config as {
    compilerOptions: object;
  };
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  const given = {
    ...options,
    noEmit: true,
    composite: false,
    incremental: false,
    declaration: false,
    declarationMap: false,
  };
  const quiet = { ...given, noUnusedLocals: false, noUnusedParameters: false };
  const texts = new Map(sources.map((source, index) => [fileOf(index), source]));
  const host = ts.createCompilerHost(quiet);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => texts.has(name) || fileExists(name);
  host.readFile = (name) => texts.get(name) ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) => {
    const text = texts.get(name);
    return text === undefined ? getSourceFile(name, version, ...rest) : ts.createSourceFile(name, text, version);
  };
  const program = ts.createProgram([...texts.keys()], quiet, host);
  return sources.map((_, index) => {
    const file = program.getSourceFile(fileOf(index));
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  });
}
