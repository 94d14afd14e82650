/**
 * Schema row: what checking a message's arguments costs.
 *
 * The other side is zod's `safeParse` of the same shape, which a service in TypeScript would call in this place; the
 * details have the code that Ajv generates, which an edge runtime forbids. Values are many and alike, as they come
 * off the wire, and all of them pass.
 */
import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import type { Json } from "../src/json.ts";
import { compileSchema } from "../src/protocol/schema.ts";
import { compare, type Measure, measureAll, type Row, timed, withMore } from "./harness.ts";

const AMOUNT = {
  schema: {
    type: "object",
    properties: { amount: { type: "integer", exclusiveMinimum: 0 } },
    required: ["amount"],
    additionalProperties: false,
  },
  zod: z.strictObject({ amount: z.int().positive() }),
  value: { amount: 5 },
};

const LINE = {
  type: "object",
  properties: {
    sku: { type: "string" },
    count: { type: "integer", minimum: 1 },
    price: { type: "number", minimum: 0 },
  },
  required: ["sku", "count", "price"],
  additionalProperties: false,
};

const ORDER = {
  schema: {
    type: "object",
    properties: {
      id: { type: "string", minLength: 1, maxLength: 64 },
      customer: {
        type: "object",
        properties: { name: { type: "string", maxLength: 200 }, vip: { type: "boolean" } },
        required: ["name"],
        additionalProperties: false,
      },
      lines: { type: "array", maxItems: 100, items: LINE },
      status: { enum: ["new", "paid", "sent"] },
    },
    required: ["id", "customer", "lines", "status"],
    additionalProperties: false,
  },
  zod: z.strictObject({
    id: z.string().min(1).max(64),
    customer: z.strictObject({ name: z.string().max(200), vip: z.boolean().optional() }),
    lines: z
      .array(z.strictObject({ sku: z.string(), count: z.int().min(1), price: z.number().min(0) }))
      .max(100),
    status: z.enum(["new", "paid", "sent"]),
  }),
  value: {
    id: "o-1",
    customer: { name: "Ada", vip: true },
    lines: [1, 2, 3].map((count) => ({ sku: `sku-${count}`, count, price: count * 2.5 })),
    status: "paid",
  },
};

interface Sides {
  readonly ours: Measure;
  readonly zod: Measure;
  readonly ajv: Measure;
}

/** Checks a second, in millions, of three ways to check one shape. */
function sidesOf({ schema, zod, value }: { schema: Json; zod: z.ZodType; value: Json }): Sides {
  const check = compileSchema(schema);
  if (typeof check === "string") throw new Error(check);
  const ajv = new Ajv2020({ strict: true, ownProperties: true }).compile<Json>(schema as object);
  if (check(value) !== undefined || !zod.safeParse(value).success || !ajv(value))
    throw new Error("one of the sides does not admit its value");
  const values = Array.from({ length: 64 }, () => JSON.parse(JSON.stringify(value)) as Json);
  return {
    ours: perSecond(values, check),
    zod: perSecond(values, (each) => zod.safeParse(each)),
    ajv: perSecond(values, (each) => ajv(each)),
  };
}

function perSecond(values: readonly Json[], check: (value: Json) => unknown): Measure {
  let i = 0;
  const measure = timed(() => check(values[i++ % values.length] ?? null));
  return async () => 1 / (await measure());
}

export async function checkVersusZod(seconds: number): Promise<readonly Row[]> {
  const what = "arguments of the demo's deposit checked by their schema, against zod's safeParse";
  const spec = { id: "schema.check_vs_zod", unit: "M/s", better: "higher", what, seconds } as const;
  const amount = sidesOf(AMOUNT);
  const order = sidesOf(ORDER);
  const row = await compare(spec, amount.ours, amount.zod);
  const others = await measureAll(
    [amount.ajv, order.ours, order.zod, order.ajv].map((measure) => ({ spec, measure })),
    seconds,
  );
  const [ajv = 0, nested = 0, nestedZod = 0, nestedAjv = 0] = others.map(({ ours }) => ours);
  const details = {
    ajv_per_us: ajv,
    nested_per_us: nested,
    nested_zod_per_us: nestedZod,
    nested_ajv_per_us: nestedAjv,
  };
  const [a, n, z4, aj] = [ajv, nested, nestedZod, nestedAjv].map((value) => value.toFixed(2));
  const note = `code that Ajv generates: ${a} M/s; an order of three lines: ours ${n}, zod ${z4}, Ajv ${aj} M/s`;
  return [withMore(row, details, note)];
}
