/** Absolute path of the folder that holds this package's package.json. */
export declare const packageRoot: string;
