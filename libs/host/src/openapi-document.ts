/** Generates OpenAPI from the schemas that validate the requests, so the document matches the code. */
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { completed, type Paths } from './openapi-path-completion.js';
import type { Schema } from './openapi-schema.js';

/** The API document of an app. */
export function documentOf(
  app: INestApplication,
  { title, description }: { title: string; description: string },
): OpenAPIObject {
  const builder = new DocumentBuilder().setTitle(title).setDescription(description).setVersion('1').addBearerAuth();
  const document = SwaggerModule.createDocument(app, builder.build());
  const schemas: Schema = {};
  const described = completed(document.paths as Paths);
  const paths = withReferences(described, schemas) as typeof document.paths;
  const components = { ...document.components, schemas: { ...document.components?.schemas, ...schemas } };
  return { ...document, paths, components: components as OpenAPIObject['components'] };
}

/** Replaces each object schema with a title by a reference, and collects the replaced schemas in `schemas`. */
function withReferences(part: unknown, schemas: Schema): unknown {
  if (Array.isArray(part)) return part.map((item) => withReferences(item, schemas));
  if (typeof part !== 'object' || part === null) return part;
  const copy = Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, key === 'example' ? value : withReferences(value, schemas)]),
  );
  if (copy.type !== 'object' || typeof copy.title !== 'string') return copy;
  const { title, ...schema } = copy;
  schemas[title as string] = schema;
  return { $ref: `#/components/schemas/${title}` };
}
