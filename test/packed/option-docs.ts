import { join } from 'node:path';
import ts from 'typescript';

/**
 * What an editor shows at each option of each module of the tarball, by names like `XaModule.backoff.firstMs`.
 * @param project a project with the tarball in its `node_modules`
 * @param files the declarations of its entries
 */
export function shownAtOptions(project: string, files: readonly string[]): ReadonlyMap<string, string> {
  const entries = files.map((file) => join(project, 'node_modules', 'nest-dtx', file));
  const program = ts.createProgram(entries, {
    module: ts.ModuleKind.NodeNext,
    strict: true,
    skipLibCheck: true,
    types: ['node'],
  });
  const checker = program.getTypeChecker();
  const shown = new Map<string, string>();
  const note = (type: ts.Type, owner: string): void => {
    for (const property of checker.getNonNullableType(type).getProperties()) {
      const name = `${owner}.${property.name}`;
      shown.set(name, ts.displayPartsToString(property.getDocumentationComment(checker)));
      const inner = checker.getNonNullableType(checker.getTypeOfSymbol(property));
      if (isGroup(inner)) note(inner, name);
    }
  };
  for (const entry of entries)
    for (const one of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)!)!)) {
      for (const method of checker.getTypeOfSymbol(one).getProperties()) {
        if (!/^for(Root|Participant|Service|Publisher)$/.test(method.name)) continue;
        const [signature] = checker.getTypeOfSymbol(method).getCallSignatures();
        const options = signature?.parameters[0];
        if (options) note(checker.getTypeOfSymbol(options), one.name);
      }
    }
  return shown;
}

/** A group of options is an object whose fields are declared where the options are. */
function isGroup(type: ts.Type): boolean {
  const properties = type.flags & ts.TypeFlags.Object ? type.getProperties() : [];
  const isOption = ({ declarations }: ts.Symbol) =>
    declarations?.[0]?.getSourceFile().fileName.endsWith('/options.d.ts');
  return properties.length > 0 && properties.every(isOption);
}
