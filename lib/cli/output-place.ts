// Where a command's file goes, looked at before the work begins.
import { LeNet5Error } from "../errors.js";
import { type FilePlace, requireWritable } from "../file-place.js";

/** Refuses a place that cannot take the file before hours are spent on what is to go there. @throws LENET5_FILE_WRITE_FAILED */
export async function checkPlace(path: string): Promise<FilePlace> {
  try {
    return await requireWritable(path);
  } catch (cause) {
    throw new LeNet5Error(
      "FILE_WRITE_FAILED",
      `Expected a file that can be written for --output but received ${path}: ${(cause as Error).message}`,
      { cause },
    );
  }
}
