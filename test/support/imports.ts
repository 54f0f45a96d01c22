import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { ROOT } from './plane.js'

export interface Import {
  /** Below the repository's root. */
  from: string
  /** A path below the root for a file of ours, else the package's or Node's name as it is written. */
  to: string
  kind: 'static' | 'dynamic'
  typeOnly: boolean
}

/** What a file imports, re-exports, or loads by `import()` or `require()`. */
export function importsOf(file: string, text = readFileSync(join(ROOT, file), 'utf8')): Import[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)
  const found: Import[] = []
  const add = (node: ts.Expression | undefined, kind: Import['kind'], typeOnly: boolean) => {
    if (!node) return
    if (!ts.isStringLiteralLike(node)) throw new Error(`${file} loads a module whose name is computed`)
    const to = node.text.startsWith('.')
      ? relative(ROOT, join(ROOT, dirname(file), node.text)).replace(/\.js$/, '.ts')
      : node.text
    found.push({ from: file, to, kind, typeOnly })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, 'static', isTypeOnly(node.importClause))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, 'static', node.isTypeOnly)
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal as ts.StringLiteral, 'static', true)
    } else if (ts.isCallExpression(node)) {
      const called = node.expression
      if (called.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic', false)
      else if (ts.isIdentifier(called) && called.text === 'require') add(node.arguments[0], 'dynamic', false)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false
  if (clause.isTypeOnly) return true
  const named = clause.namedBindings
  return !clause.name && named !== undefined && ts.isNamedImports(named) && named.elements.every((e) => e.isTypeOnly)
}

/** `@scope/name` or `name`, without what follows. */
export function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')
}
