import { describe, expect, test } from "vitest";
import { lastJson, lenet5 } from "./lenet5.js";

const COMMANDS = [
  ["train"],
  ["evaluate"],
  ["predict"],
  ["export"],
  ["inspect"],
  ["gate"],
  ["deploy"],
  ["wait"],
  ["smoke-test"],
  ["undeploy"],
  ["report"],
  ["install"],
  ["doctor"],
  ["data"],
  ["data", "fetch"],
  ["data", "export"],
  ["data", "synthesise"],
  ["data", "show"],
];

describe("help", () => {
  test.each(COMMANDS)("lenet5 %s %s --help shows usage and an example on stdout", async (...words) => {
    const run = await lenet5([...words.filter(Boolean), "--help"]);
    expect(run.status).toBe(0);
    expect(run.stderr).toBe("");
    expect(run.stdout).toMatch(
      new RegExp(`^Usage: lenet5 ${words.filter(Boolean).join(" ").replace("synthesise", "synthesise\\|synthesize")}`),
    );
    expect(run.stdout).toMatch(/Examples?:\n {2}\$ lenet5 /);
    expect(run.stdout).not.toMatch(/undefined|\[object/);
  });

  test("lenet5 --help lists every command", async () => {
    const { status, stdout } = await lenet5(["--help"]);
    expect(status).toBe(0);
    for (const [name] of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${name}\\b`, "m"));
  });

  test("lenet5 --version prints the package's version", async () => {
    const { status, stdout } = await lenet5(["--version"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test("lenet5 alone shows help on stderr and fails", async () => {
    const { status, stdout, stderr } = await lenet5([]);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("Usage: lenet5");
  });
});

describe("wrong usage ends with status 2, one line on stderr, and an error object with --json", () => {
  const table: [words: string[], code: string, message: RegExp][] = [
    [["trian"], "LENET5_INVALID_ARGUMENT", /but received trian \(did you mean train\?\)/],
    [["train", "--epoch", "3"], "LENET5_UNKNOWN_OPTION", /but received --epoch \(did you mean --epochs\?\)/],
    [["train", "--epochs", "three"], "LENET5_INVALID_OPTION", /a whole number .* for --epochs but received "three"/],
    [["train", "--epochs", "1.5"], "LENET5_INVALID_OPTION", /for --epochs but received 1.5/],
    [["train", "--epochs"], "LENET5_INVALID_OPTION", /a value for --epochs <n> but received none/],
    [["train", "--batch-size", "0"], "LENET5_INVALID_OPTION", /from 1 to 1000000 for --batch-size but received 0/],
    [["train", "--batch-size", ""], "LENET5_INVALID_OPTION", /for --batch-size but received ""/],
    [["train", "--learning-rate=-1"], "LENET5_INVALID_OPTION", /a number above 0 for --learning-rate but received -1/],
    [["train", "--learning-rate", "Infinity"], "LENET5_INVALID_OPTION", /for --learning-rate but received Infinity/],
    [
      ["train", "--schedule", "onecycle"],
      "LENET5_INVALID_OPTION",
      /"constant" or "one-cycle" for --schedule but received "onecycle"/,
    ],
    [["train", "--device", "gpu"], "LENET5_INVALID_OPTION", /for --device but received "gpu"/],
    [["train", "--engine", "fast"], "LENET5_INVALID_OPTION", /for --engine but received "fast"/],
    [["train", "--output", ""], "LENET5_INVALID_OPTION", /for --output but received ""/],
    ...["onnx", "safetensors", "MAR"].map((ending): [string[], string, RegExp] => [
      ["train", "--output", `m.${ending}`],
      "LENET5_INVALID_OPTION",
      new RegExp(`lenet5 export writes ${ending.toLowerCase()} from it\\) for --output but received "m.${ending}"`),
    ]),
    [["train", "surplus"], "LENET5_INVALID_ARGUMENT", /Expected no further arguments/],
    [["evaluate", "--data", "mnist"], "LENET5_INVALID_OPTION", /a value for --model <file> but received none/],
    [["predict", "--model", "m.pt"], "LENET5_INVALID_ARGUMENT", /at least one value for image but received none/],
    [
      ["predict", "--model", "m.pt", "--input", "a", "b.png"],
      "LENET5_INVALID_ARGUMENT",
      /no images beside --input for image/,
    ],
    [
      ["predict", "--model", "m.pt", "--output", "o.jsonl", "b.png"],
      "LENET5_INVALID_OPTION",
      /\(because of --output\) for --input/,
    ],
    [
      ["predict", "--model", "m.pt", "--max-unreadable", "1", "b.png"],
      "LENET5_INVALID_OPTION",
      /\(because of --max-unreadable\) for --input but received none/,
    ],
    [
      ["predict", "--model", "m.pt", "--input", "a"],
      "LENET5_INVALID_OPTION",
      /ends in .jsonl, .* for --output but received none/,
    ],
    ...["o.csv", "o", "/dev/stdout"].map((output): [string[], string, RegExp] => [
      ["predict", "--model", "m.pt", "--input", "a", "--output", output],
      "LENET5_INVALID_OPTION",
      new RegExp(`ends in .jsonl, .ndjson, .parquet for --output but received "${output}"`),
    ]),
    [
      ["predict", "--model", "m.pt", "--input", "a", "--output", "o.parquet", "--top-k", "2"],
      "LENET5_INVALID_OPTION",
      /\(because of --top-k; --probabilities has all\) for --output but received "o.parquet"/,
    ],
    [
      ["predict", "--model", "m.pt", "--input", "a", "--output", "o.jsonl", "--shards", "2", "--shard", "2"],
      "LENET5_INVALID_OPTION",
      /from 0 to 1 for --shard but received 2/,
    ],
    [
      ["predict", "--model", "m.pt", "--input", "a", "--output", "o.jsonl", "--shards", "2"],
      "LENET5_INVALID_OPTION",
      /a number from 0 to 1 .* for --shard but received none/,
    ],
    [
      ["export", "--model", "m.pt", "--output", "m.xyz"],
      "LENET5_INVALID_OPTION",
      /torchscript, onnx, safetensors, mar for --format .*m\.xyz.* but received none/,
    ],
    [
      ["data", "fetch", "mnits"],
      "LENET5_INVALID_ARGUMENT",
      /mnist or fashion-mnist for data fetch but received "mnits"/,
    ],
    [["data", "show", "--mistakes"], "LENET5_INVALID_OPTION", /for --model but received none/],
    [["inspect", "m.pt", "--name", "M"], "LENET5_INVALID_OPTION", /for --name but received none/],
  ];

  test.each(table)("lenet5 %j", async (words, code, message) => {
    const isJson = words.at(-1) !== "--epochs"; // There it would be the value.
    const run = await lenet5(isJson ? [...words, "--json"] : words);
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).toMatch(/^lenet5: Expected .* for .* but received .* \(LENET5_[A-Z_]+\)\n$/);
    expect(run.stderr).toContain(`(${code})`);
    if (isJson) expect(lastJson(run)).toEqual({ error: { code, message: expect.stringMatching(message) } });
    else expect(run.stdout).toBe("");
  });

  test.each([
    [{ RANK: "1" }, /for WORLD_SIZE but received none/],
    [{ RANK: "2", WORLD_SIZE: "2" }, /from 0 to 1 for RANK but received "2"/],
    [{ JOB_COMPLETION_INDEX: "0" }, /for --shards but received none/],
  ])("a share that %j does not say", async (env, message) => {
    const run = await lenet5(["predict", "--model", "m.pt", "--input", "a", "--output", "o.jsonl"], { env });
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(/^lenet5: Expected .* for .* but received .* \(LENET5_INVALID_OPTION\)\n$/);
    expect(run.stderr).toMatch(message);
  });

  test("a value from the environment is checked as one from the command line", async () => {
    const run = await lenet5(["train"], { env: { LENET5_BATCH_SIZE: "many" } });
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(/for --batch-size but received "many"/);
  });
});
