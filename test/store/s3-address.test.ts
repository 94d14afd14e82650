import { describe, expect, test } from "vitest";
import { parseS3Address } from "../../src/store/s3-address.ts";

const NOTHING = { endpoint: undefined, region: undefined };
const minio = "endpoint=http://127.0.0.1:9000";

describe("an address", () => {
  test.each([
    [`s3://bucket?${minio}`, NOTHING, "http://127.0.0.1:9000/bucket/", "", "us-east-1"],
    [`s3://bucket/?${minio}`, NOTHING, "http://127.0.0.1:9000/bucket/", "", "us-east-1"],
    [`s3://bucket/a/b.c=d/?${minio}/`, NOTHING, "http://127.0.0.1:9000/bucket/", "a/b.c=d/", "us-east-1"],
    [`s3://bucket/a?${minio}&style=virtual`, NOTHING, "http://bucket.127.0.0.1:9000/", "a/", "us-east-1"],
    [`s3://b-1/a?${minio}/s3/v1&region=eu`, NOTHING, "http://127.0.0.1:9000/s3/v1/b-1/", "a/", "eu"],
    [
      "s3://bucket/a?region=eu-north-1",
      NOTHING,
      "https://bucket.s3.eu-north-1.amazonaws.com/",
      "a/",
      "eu-north-1",
    ],
    [
      "s3://my.bucket?region=eu-north-1",
      NOTHING,
      "https://s3.eu-north-1.amazonaws.com/my.bucket/",
      "",
      "eu-north-1",
    ],
    ["s3://bucket", { endpoint: "https://e", region: "r" }, "https://e/bucket/", "", "r"],
    [
      `s3://bucket?${minio}&region=x`,
      { endpoint: "https://e", region: "r" },
      "http://127.0.0.1:9000/bucket/",
      "",
      "x",
    ],
  ])("%s", (url, defaults, base, prefix, region) => {
    expect(parseS3Address(url, defaults)).toEqual({
      base,
      prefix,
      region,
      isAws: base.includes(".amazonaws.com/"),
    });
  });

  test.each([
    "s3:",
    "s3:bucket",
    "s3://",
    "s3://Bucket",
    "s3://a",
    `s3://bucket/..?${minio}`,
    `s3://bucket/a/../b?${minio}`,
    `s3://bucket/./b?${minio}`,
    `s3://bucket//b?${minio}`,
    `s3://bucket/a%2Fb?${minio}`,
    `s3://bucket/ä?${minio}`,
    "s3://bucket",
    "s3://bucket?region=",
    "s3://bucket?region=eu.evil.example/",
    "s3://bucket?endpoint=127.0.0.1:9000",
    "s3://bucket?endpoint=ftp://h",
    "s3://bucket?endpoint=",
    `s3://bucket?${minio}&style=cname`,
    `s3://bucket?${minio}&${minio}`,
    `s3://bucket?${minio}#x`,
  ])("that cannot be meant: %s", (url) => {
    expect(parseS3Address(url, NOTHING)).toBeTypeOf("string");
  });

  test.each([
    "s3://user:hidden@bucket?endpoint=http://h",
    "s3://bucket?endpoint=http://user:hidden@h",
    "s3://bucket?endpoint=http://h%2F%3Fsecret%3Dhidden",
    `s3://bucket?${minio}&secret_key=hidden`,
    `s3://bucket?${minio}&hidden=1`,
  ])("with a credential is refused without repeating it: %s", (url) => {
    const problem = parseS3Address(url, NOTHING);
    expect(problem).toBeTypeOf("string");
    expect(problem).not.toContain("hidden");
  });
});
