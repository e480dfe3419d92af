// Decoding and drawing, loaded by the first image that needs it.
import type Sharp from "sharp";
import { lazily } from "../lazily.js";

export const sharp = lazily<typeof Sharp>("sharp");
