// What the scripts of the native build (scripts/), and the processes that `lenet5 doctor` starts, take of this package. No part of its API.
export { cacheRoot } from "./cache.js";
export { findLibtorch } from "./libtorch/find.js";
export { loadAddon, loadAddonWithDetails } from "./libtorch/load-addon.js";
export { loadOperators } from "./libtorch/operators.js";
export { libtorch, native } from "./native.js";
