// Every system at its best: processes with one thread and with all of them, and within each process every way that the system
// knows. What was tried, and what each took or why it failed, goes into the result.
import { median, significant } from "./statistics.mjs";
import { threadCounts } from "./systems.mjs";

/** Compiling takes minutes where nothing was compiled before. */
const PATIENCE = 1800;

/** The reply's candidates, each with the number of threads it was tried on. */
const tried = (reply, threads) => (reply.candidates ?? []).map((one) => ({ threads, ...one }));

/** What was chosen, and among what, as the result file has it. */
export function chosen({ how, threads, threadCounts: counts, candidates }) {
  return {
    settings: how,
    threads,
    threadCounts: counts.map((each) => ({ ...each, imagesPerSecond: significant(each.imagesPerSecond) })),
    candidates: candidates.map(({ ms, ...each }) => ({
      ...each,
      ...(ms === undefined ? {} : { ms: significant(ms, 4) }),
    })),
  };
}

/** Figures of several children in turns: `windows` of each, the medians. */
async function compare(children, windows, measure) {
  const figures = children.map(() => []);
  for (let window = 0; window < windows; window += 1) {
    for (const [index, child] of children.entries()) figures[index].push(await measure(child));
  }
  return figures.map(median);
}

/** Starts a system with each number of threads; `first` is asked of each. Those that fail are among the candidates. */
async function start(run, system, set, counts, candidates, first) {
  const started = [];
  for (const threads of counts) {
    let child;
    try {
      child = await run.start(system, threads, set);
      started.push({ child, threads, reply: await first(child, threads) });
    } catch (error) {
      await child?.end();
      candidates.push({ threads, name: "the process", error: error.message });
    }
  }
  if (started.length === 0) throw new Error(candidates.map(({ error }) => error).find(Boolean) ?? "it did not start");
  return started;
}

/**
 * Chooses for each batch size, and checks every answer. Resolves with one measurement a batch size: the child to be
 * measured, its number of threads, what was tried.
 */
export async function chooseInference(run, system, set, batches) {
  const { settings } = run;
  const failed = [];
  const known = run.choices?.get(system.name);
  const counts = known ?? threadCounts(system, settings.threads);
  const all = await start(run, system, set, counts, failed, async (child, threads) => {
    const replies = new Map();
    for (const batch of batches) {
      // A choice that an earlier suite made stands, whatever the images.
      const only = run.choices?.get(`${system.name} ${batch} ${threads}`);
      if (only === undefined && known !== undefined) continue;
      const output = run.answersFile(`${system.name}-${threads}`);
      const request = { cmd: "check", batch, output, ...(only === undefined ? {} : { only }) };
      const reply = await child.turn(request, PATIENCE);
      replies.set(batch, { ...reply, ...(await run.judge(output, set)) });
    }
    return replies;
  });
  const measurements = [];
  for (const batch of batches) {
    const started = all.filter(({ reply }) => reply.has(batch));
    const seconds = settings.quick ? 0.05 : 0.12;
    const rates = await compare(
      started.map(({ child }) => child),
      started.length === 1 ? 1 : settings.quick ? 2 : 6,
      async (child) => {
        const { calls, seconds: took } = await child.turn({ cmd: "inference", batch, seconds });
        return (calls * batch) / took;
      },
    );
    const best = rates.indexOf(Math.max(...rates));
    const { child, threads, reply } = started[best];
    const { settings: how, wrongLabels, largestDifference } = reply.get(batch);
    const candidates = started.flatMap((one) => tried(one.reply.get(batch), one.threads));
    measurements.push({
      ...{ system, batch, child, threads, how, wrongLabels, largestDifference },
      threadCounts: started.map((one, index) => ({ threads: one.threads, imagesPerSecond: rates[index] })),
      candidates: [...candidates, ...failed],
    });
    run.choices?.set(`${system.name} ${batch} ${threads}`, how);
  }
  const used = new Set(measurements.map(({ child }) => child));
  for (const { child } of all) if (!used.has(child)) await child.end();
  run.choices?.set(system.name, [...new Set(measurements.map(({ threads }) => threads))]);
  return measurements;
}

/** Chooses the number of threads and the way to train at one batch size; the child that stays is warm. */
export async function chooseTraining(run, system, set, batch) {
  const { settings } = run;
  const key = `${system.name} trains ${batch}`;
  const known = run.choices?.get(key);
  const counts = known === undefined ? threadCounts(system, settings.threads) : [known.threads];
  const seconds = settings.trainingSeconds / 2;
  const candidates = [];
  const request = { cmd: "train", batch, seconds, ...(known?.how === undefined ? {} : { how: known.how }) };
  const started = await start(run, system, set, counts, candidates, (child) => child.turn(request, PATIENCE));
  candidates.unshift(...started.flatMap(({ reply, threads }) => tried(reply, threads)));
  const rates = await compare(
    started.map(({ child }) => child),
    started.length === 1 ? 1 : settings.quick ? 1 : 3,
    async (child) => {
      const { images, seconds: took } = await child.turn({ cmd: "train", batch, seconds }, PATIENCE);
      return images / took;
    },
  );
  const best = rates.indexOf(Math.max(...rates));
  for (const [index, { child }] of started.entries()) if (index !== best) await child.end();
  const { child, threads, reply } = started[best];
  const how = reply.settings;
  run.choices?.set(key, { threads, how });
  return {
    ...{ system, child, threads, how, candidates, imagesPerSecond: rates[best] },
    threadCounts: started.map((one, index) => ({ threads: one.threads, imagesPerSecond: rates[index] })),
  };
}
