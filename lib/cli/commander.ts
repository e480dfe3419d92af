// The library behind the command line, of which this package carries the part that it uses.
import type * as Commander from "commander";
import { lazily } from "../lazily.js";

export const { Command, CommanderError, Option } = lazily<typeof Commander>("commander")();
export type Command = Commander.Command;
export type CommanderError = Commander.CommanderError;
export type Option = Commander.Option;
