// The wheels of the pinned libtorch of which parts may be fetched, and what proves those parts: the SHA-256 of each wheel's
// RECORD, which has the SHA-256 of every file in it. scripts/pinned-wheels.mjs writes this file, from whole wheels that it
// held against the package index.

/** File name of a wheel → SHA-256 of its RECORD. Which Python a wheel is for plays no part: nothing of Python is taken. */
export const PINNED_WHEELS: Readonly<Record<string, string>> = {
  "torch-2.13.0-cp312-cp312-macosx_14_0_arm64.whl": "2f336cdf0e55ecfcbf49751d40b8b179ae14890f8e569ae10527898f288ac1ce",
  "torch-2.13.0-cp312-cp312-manylinux_2_28_aarch64.whl":
    "471beaed31dcf3209fc587fdfee9e2eeba8a159462eb20d8736a2ddad7fb3205",
  "torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl":
    "047e634e96d5bc54b146ddb04a470175e886d18d89439c44e371e870e2dfa0de",
  "torch-2.13.0-cp312-cp312-win_amd64.whl": "36a28665dbc98f1d30282729c81f9e616eaef2b768ebc5c1900891c736dd8de4",
};
