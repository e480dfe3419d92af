// Jest runs each file in a realm of its own: its Float32Array is not Node's. `npm test` runs this beside vitest.
module.exports = {
  rootDir: __dirname,
  testMatch: ["<rootDir>/*.jest.cjs"],
  testEnvironment: "node",
  transform: {},
  testTimeout: 60_000,
  maxWorkers: 1,
};
