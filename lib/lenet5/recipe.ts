// The two recipes that this package publishes: one set of defaults for the API and the command line, and the one that
// augmentation needs to pay. Both were chosen on a validation split of MNIST's training set and never on its test set;
// docs/performance-log.md has the search and the accuracies they reach.

/**
 * Strengths of the random distortions that each training image goes through, anew in every epoch. Every number is the
 * largest distortion of its kind; each image draws its own, uniformly between minus and plus that. 0 switches a kind
 * off.
 */
export interface Augmentation {
  /** Shift along each axis, in pixels, up to 32. */
  readonly shift: number;
  /** Rotation about the image's centre, in degrees, up to 180. */
  readonly rotation: number;
  /** Stretch of each axis by a factor of its own within 1 ± this, up to 0.9. */
  readonly scale: number;
  /** Horizontal shear (slant), in degrees, up to 60. */
  readonly shear: number;
  /**
   * Elastic distortion after Simard, Steinkraus and Platt (2003): each pixel's displacement is white noise, smoothed by
   * a Gaussian of `sigma` pixels and multiplied by `alpha`. The displacements' standard deviation along each axis is
   * `alpha / (6.14 × sigma)` pixels: 1.4 for the paper's alpha of 34 and sigma of 4.
   */
  readonly elastic: {
    /** Factor of the smoothed noise, in pixels, up to 1000; 0 for no elastic distortion. */
    readonly alpha: number;
    /** Standard deviation of the smoothing Gaussian, in pixels, from 1 to 32. */
    readonly sigma: number;
  };
}

/** What a training run depends on, apart from its data and its seed; `fit` takes it as options. */
export interface Recipe {
  /** Passes over the training set. */
  readonly epochs: number;
  /** Images a step. */
  readonly batchSize: number;
  /** Adam's learning rate; with `one-cycle` its peak. */
  readonly learningRate: number;
  /** Adam's decay rates of the first and second moment. */
  readonly betas: readonly [number, number];
  /** Adam's epsilon. */
  readonly epsilon: number;
  /** L2 penalty, as `torch.optim.Adam` applies it. */
  readonly weightDecay: number;
  /** Course of the learning rate. */
  readonly schedule: "constant" | "one-cycle";
  /** Distortions of the training images; `false` for none. */
  readonly augmentation: Augmentation | false;
}

/** The strengths behind `augmentation: true` and `--augment`. */
export const DEFAULT_AUGMENTATION: Augmentation = Object.freeze({
  shift: 1,
  rotation: 7,
  scale: 0.1,
  shear: 7,
  elastic: Object.freeze({ alpha: 20, sigma: 4 }),
});

/** Without augmentation: 99 % of MNIST's test images in three epochs. */
export const DEFAULT_RECIPE: Recipe = Object.freeze({
  epochs: 3,
  batchSize: 64,
  learningRate: 0.005,
  betas: Object.freeze([0.9, 0.999] as const),
  epsilon: 1e-8,
  weightDecay: 0,
  schedule: "one-cycle",
  augmentation: false,
});

/** With augmentation: distorted images never repeat, so that many epochs go on teaching. */
export const AUGMENTED_RECIPE: Recipe = Object.freeze({
  epochs: 30,
  batchSize: 64,
  learningRate: 0.001,
  betas: Object.freeze([0.9, 0.999] as const),
  epsilon: 1e-8,
  weightDecay: 0,
  schedule: "one-cycle",
  augmentation: DEFAULT_AUGMENTATION,
});
