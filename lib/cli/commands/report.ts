// `lenet5 report`
import { expected, expectedButGot } from "../../errors.js";
import { writeFileAtomically } from "../../files.js";
import { isObject } from "../../is.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { addJsonOption, textOption } from "../options.js";
import { grouped, percent } from "../output.js";

interface ReportOptions {
  results: string;
  output: string;
}

/** What a step printed as its last line. */
type Result = Readonly<Record<string, unknown>>;
type Results = Readonly<Record<string, Result>>;

/** The steps of the lifecycle; each trainer has its own, `train_<system>`. */
const STEPS: readonly string[] = [
  ...["ingest", "evaluate", "gate", "export_torchscript", "export_onnx", "archive"],
  ...["deploy", "wait_until_ready", "smoke_test", "undeploy", "benchmark"],
];
const TRAINER = /^train_./;

/** What JSON has no number for, as commands print it. */
const NOT_FINITE: readonly unknown[] = ["NaN", "Infinity", "-Infinity"];

/** Adds the command. */
export function reportCommand(program: Command): void {
  const command = program
    .command("report")
    .description("Write one page about a run of the lifecycle, from what its steps printed as their last lines.")
    .addOption(
      textOption(
        "--results <json>",
        "an object: the step's name, and the object that it printed",
      ).makeOptionMandatory(),
    )
    .addOption(textOption("--output <file>", "the page (Markdown)").makeOptionMandatory());
  addJsonOption(command);
  addExamples(
    command,
    `lenet5 report --output report.md --results '{"train_libtorch":{"accuracy":0.99},"deploy":{"version":"8"}}'`,
  );
  perform<ReportOptions>(command, async ({ options, output, signal }) => {
    await output.leaveStdoutTo(options.output);
    const results = parse(options.results);
    await writeFileAtomically(options.output, page(results), { signal });
    output.print(`Wrote ${options.output}`);
    output.finish({ report: options.output, ...summary(results) });
  });
}

function parse(text: string): Results {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {}
  if (isObject(value) && !Array.isArray(value) && Object.values(value).every((each) => isObject(each))) {
    const other = Object.keys(value).find((name) => !STEPS.includes(name) && !TRAINER.test(name));
    if (other === undefined) return value as Results;
    throw expected("INVALID_OPTION", `the steps ${STEPS.join(", ")} and train_<system>`, "--results", other);
  }
  throw expectedButGot(
    "INVALID_OPTION",
    "an object of objects as JSON",
    "--results",
    text.length > 80 ? `a text of ${text.length} characters` : JSON.stringify(text),
  );
}

/** What whoever compares runs wants to know. */
function summary({ evaluate, deploy, benchmark }: Results): Result {
  return {
    version: deploy?.version ?? null,
    digest: deploy?.digest ?? null,
    accuracy: evaluate?.accuracy ?? null,
    requestsPerSecond: benchmark?.requestsPerSecond ?? null,
  };
}

function page(results: Results): string {
  const { ingest, evaluate, gate, deploy, smoke_test: smoke, benchmark } = results;
  const sections = [
    `# ${word(deploy?.name, "LeNet-5")} ${word(deploy?.version, "(not deployed)")}`,
    `${number(ingest?.train)} training and ${number(ingest?.test)} test images.`,
    "## Training",
    table(
      ["system", "accuracy", "loss", "seconds", "images/s"],
      Object.entries(results)
        .filter(([name]) => name.startsWith("train_"))
        .map(([name, result]) => [
          word(result.system, name.slice("train_".length)),
          share(result.accuracy),
          fixed(result.loss, 4),
          fixed(result.trainingSeconds, 1),
          number(result.imagesPerSecond),
        ]),
    ),
    "## Deployment",
    table(
      ["", ""],
      [
        ["accuracy, as evaluated", share(evaluate?.accuracy)],
        ["least accuracy", share(gate?.minAccuracy)],
        ["deployed before", before(gate?.deployed)],
        ["SHA-256 of the model", word(deploy?.digest)],
        ["server", word(deploy?.url)],
        ["smoke test", smoke === undefined ? "–" : `${number(smoke.right)} of ${number(smoke.digits)} digits right`],
        ["requests/s, right answers alone", number(benchmark?.requestsPerSecond)],
        ["latency, median", `${fixed(benchmark?.p50Ms, 2)} ms`],
        ["latency, 99th percentile", `${fixed(benchmark?.p99Ms, 2)} ms`],
      ],
    ),
  ];
  return `${sections.join("\n\n")}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function before(deployed: unknown): string {
  return isObject(deployed) ? `version ${word(deployed.version)}, ${share(deployed.accuracy)}` : "nothing";
}

function word(value: unknown, otherwise = "–"): string {
  return typeof value === "string" && value !== "" ? value.replaceAll(/\s+/g, " ") : otherwise;
}

function share(value: unknown): string {
  return figure(value, percent);
}

function number(value: unknown): string {
  return figure(value, grouped);
}

function fixed(value: unknown, digits: number): string {
  return figure(value, (x) => x.toFixed(digits));
}

/** A figure that is not finite says that something diverged; a dash, that nothing was measured. */
function figure(value: unknown, format: (value: number) => string): string {
  if (NOT_FINITE.includes(value)) return String(value);
  return typeof value === "number" ? format(value) : "–";
}
