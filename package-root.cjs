// The one place that knows where the package lies, for CommonJS; package-root.mjs is its ES module twin.
exports.packageRoot = __dirname;
