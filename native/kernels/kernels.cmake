# LENET5_KERNELS: the fused kernels as a static, position-independent library `lenet5_kernels`. Plain C++17 or later, no
# libtorch. Each instruction set has a translation unit of its own and only that unit gets its flags.
find_package(Threads REQUIRED)

set(LENET5_KERNELS_DIR "${CMAKE_CURRENT_LIST_DIR}")
add_library(lenet5_kernels STATIC
  "${LENET5_KERNELS_DIR}/kernels_baseline.cpp"
  "${LENET5_KERNELS_DIR}/kernels_avx2.cpp"
  "${LENET5_KERNELS_DIR}/kernels_avx512.cpp"
  "${LENET5_KERNELS_DIR}/dispatch.cpp"
  "${LENET5_KERNELS_DIR}/packing.cpp"
  "${LENET5_KERNELS_DIR}/finite.cpp"
  "${LENET5_KERNELS_DIR}/augment.cpp"
  "${LENET5_KERNELS_DIR}/forward.cpp"
  "${LENET5_KERNELS_DIR}/trainer.cpp"
  "${LENET5_KERNELS_DIR}/thread_pool.cpp"
)
set_target_properties(lenet5_kernels PROPERTIES
  POSITION_INDEPENDENT_CODE ON
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
)
target_compile_features(lenet5_kernels PUBLIC cxx_std_17)
target_include_directories(lenet5_kernels PUBLIC "${LENET5_KERNELS_DIR}")
target_link_libraries(lenet5_kernels PUBLIC Threads::Threads)

# Not -ffast-math: a diverged training must show as NaN, and sums keep their order, so that a seed gives the same weights.
# Under -fsanitize=thread, GCC 12 at -O3 computes another gradient of c3 with AVX-512, on one thread too; at -O2, -O1 and
# without a sanitizer it is right.
set(LENET5_KERNELS_OPTIMIZATION -O3)
if(LENET5_SANITIZE)
  set(LENET5_KERNELS_OPTIMIZATION -O1)
endif()
target_compile_options(lenet5_kernels PRIVATE
  ${LENET5_KERNELS_OPTIMIZATION} -fno-math-errno -fno-trapping-math -ffp-contract=off -Wall -Wextra -Wno-unknown-pragmas)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # The baseline says so itself, in case the environment's flags ask for more.
  set_source_files_properties("${LENET5_KERNELS_DIR}/kernels_baseline.cpp" PROPERTIES
    COMPILE_OPTIONS "-march=x86-64;-mtune=generic")
  set_source_files_properties("${LENET5_KERNELS_DIR}/kernels_avx2.cpp" PROPERTIES
    COMPILE_OPTIONS "-march=x86-64;-mavx2;-mfma;-mtune=generic")
  # GCC 12's own AVX-512 header trips its warnings about uninitialised values (GCC bug 105593).
  set_source_files_properties("${LENET5_KERNELS_DIR}/kernels_avx512.cpp" PROPERTIES
    COMPILE_OPTIONS
    "-Wno-uninitialized;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>;-march=x86-64;-mavx2;-mfma;-mavx512f;-mavx512dq;-mavx512bw;-mavx512vl;-mprefer-vector-width=512;-mtune=generic")
endif()
