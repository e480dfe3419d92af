// See ../README.md: for a host compiler that is GCC or Clang, nothing else.
#pragma once

#if defined(__CUDACC__) || !defined(__GNUC__)
#error "This file stands in for CUDA's own with GCC and Clang as host compilers alone: install nvidia-cuda-crt"
#endif

// What has an effect on a host.
#define __no_return__ __attribute__((noreturn))
#undef __forceinline__
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)

// What is for the device's compiler.
#define __annotate__(a)
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define __host__
#define __device__
#define __global__
#define __shared__
#define __constant__
#define __managed__
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __launch_bounds__(...)
