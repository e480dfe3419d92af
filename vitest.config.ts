import { defineConfig } from "vitest/config";

// test/long runs with `npm run test:long`.
const long = process.env.LENET5_LONG_TESTS === "1";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/mnist-setup.ts",
    exclude: long ? [] : ["test/long/**"],
    // A native addon belongs into processes, and every file into one of its own: a crash names the file.
    pool: "forks",
    isolate: true,
    maxWorkers: 2,
    testTimeout: long ? 1_800_000 : 60_000,
    hookTimeout: long ? 1_800_000 : 60_000,
  },
});
