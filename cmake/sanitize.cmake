# LENET5_SANITIZE: the sanitizers that a test build is made with, as -fsanitize takes them ("address,undefined",
# "thread"); scripts/sanitizers.mjs sets it. Empty, as it is for users, this file does nothing.
include_guard(GLOBAL)
set(LENET5_SANITIZE "" CACHE STRING "Sanitizers of a test build: address,undefined or thread")
if(LENET5_SANITIZE)
  # A finding ends the process: one that is only printed would not fail a test. `vptr` asks for type information that
  # libtorch keeps to itself.
  add_compile_options(-fsanitize=${LENET5_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  # GCC's own header of regular expressions looks uninitialized to it under sanitizers (as its manual says may happen).
  add_compile_options(-Wno-maybe-uninitialized)
  add_link_options(-fsanitize=${LENET5_SANITIZE})
endif()
