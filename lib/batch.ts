// What `lenet5 predict --input` is made of, loaded when it is asked for.
export { type BatchResult, FORMATS, type Format, predictInto } from "./batch/run.js";
export { chooseShare, fileOf, type Share } from "./batch/share.js";
export { openSource, type Source } from "./batch/source.js";
