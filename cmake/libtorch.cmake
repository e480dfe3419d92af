# Target lenet5_torch: the headers and libraries of LENET5_LIBTORCH, and of no other folder.
# Sets LENET5_TORCH_VERSION, LENET5_CXX11_ABI, LENET5_CXX_STANDARD, LENET5_TORCH_CUDA, LENET5_TORCH_C10D.
#
# The CUDA libraries are not linked: libtorch registers its CUDA part when libtorch_cuda is opened, which the loader does
# where it is there. So one core serves a CPU and a CUDA libtorch of the same version.
if(NOT LENET5_LIBTORCH)
  message(FATAL_ERROR "Expected -DLENET5_LIBTORCH=<folder of a libtorch>; `node scripts/build-native.mjs` finds one")
endif()
file(REAL_PATH "${LENET5_LIBTORCH}" TORCH_ROOT)

# --- headers ---
set(TORCH_INCLUDE "${TORCH_ROOT}/include")
set(TORCH_API_INCLUDE "${TORCH_INCLUDE}/torch/csrc/api/include")
if(NOT EXISTS "${TORCH_API_INCLUDE}/torch/torch.h")
  message(FATAL_ERROR "Expected libtorch's headers in ${TORCH_INCLUDE}, but ${TORCH_API_INCLUDE}/torch/torch.h does not exist")
endif()
set(VERSION_LINES "")
foreach(VERSION_HEADER "${TORCH_INCLUDE}/torch/headeronly/version.h" "${TORCH_API_INCLUDE}/torch/version.h")
  if(EXISTS "${VERSION_HEADER}")
    file(STRINGS "${VERSION_HEADER}" VERSION_LINES REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
  endif()
  if(VERSION_LINES)
    break()
  endif()
endforeach()
if(NOT VERSION_LINES MATCHES "MAJOR +([0-9]+).*MINOR +([0-9]+).*PATCH +([0-9]+)")
  message(FATAL_ERROR "Expected a version in the headers of ${TORCH_INCLUDE}")
endif()
set(LENET5_TORCH_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
if(LENET5_TORCH_VERSION VERSION_LESS 1.13)
  message(FATAL_ERROR "Expected libtorch 1.13 or later but found ${LENET5_TORCH_VERSION} in ${TORCH_ROOT}")
endif()
if(LENET5_TORCH_VERSION VERSION_GREATER_EQUAL 2.10)
  set(LENET5_CXX_STANDARD 20)
else()
  set(LENET5_CXX_STANDARD 17)
endif()

# --- libraries ---
set(TORCH_LIB "")
foreach(FOLDER lib "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib64)
  file(GLOB FOUND "${TORCH_ROOT}/${FOLDER}/${CMAKE_SHARED_LIBRARY_PREFIX}c10${CMAKE_SHARED_LIBRARY_SUFFIX}"
       "${TORCH_ROOT}/${FOLDER}/c10.lib")
  if(FOUND)
    file(REAL_PATH "${TORCH_ROOT}/${FOLDER}" TORCH_LIB)
    break()
  endif()
endforeach()
if(NOT TORCH_LIB)
  message(FATAL_ERROR "Expected libc10 in a library folder of ${TORCH_ROOT}")
endif()
foreach(NAME c10 torch_cpu)
  find_library(LENET5_${NAME} ${NAME} PATHS "${TORCH_LIB}" NO_DEFAULT_PATH NO_CACHE REQUIRED)
  # A symlink that leads out of the folder would bring in another libtorch behind our back.
  file(REAL_PATH "${LENET5_${NAME}}" RESOLVED)
  get_filename_component(RESOLVED_FOLDER "${RESOLVED}" DIRECTORY)
  if(NOT RESOLVED_FOLDER STREQUAL TORCH_LIB)
    message(FATAL_ERROR "Expected every library of libtorch in ${TORCH_LIB} but ${NAME} leads to ${RESOLVED}: "
                        "two libtorches must not be mixed")
  endif()
  # Debian's file names tell the library's version: it must be that of the headers.
  if(RESOLVED MATCHES "\\.so\\.([0-9]+\\.[0-9]+\\.[0-9]+)$" AND NOT CMAKE_MATCH_1 STREQUAL LENET5_TORCH_VERSION)
    message(FATAL_ERROR "Expected ${NAME} ${LENET5_TORCH_VERSION}, as the headers say, but found ${RESOLVED}")
  endif()
endforeach()
file(GLOB LENET5_TORCH_CUDA "${TORCH_LIB}/*torch_cuda${CMAKE_SHARED_LIBRARY_SUFFIX}")

# Distributed training: c10d as native/core/process_group.cpp knows it, which Windows' wheels do not export.
set(LENET5_TORCH_C10D OFF)
if(LENET5_TORCH_VERSION VERSION_GREATER_EQUAL 2.10 AND NOT WIN32
   AND EXISTS "${TORCH_INCLUDE}/torch/csrc/distributed/c10d/ProcessGroupGloo.hpp")
  set(LENET5_TORCH_C10D ON)
endif()

# Wheels before 2.7 were built with the old ABI of std::string; their mangled names tell.
if(WIN32 OR APPLE)
  set(LENET5_CXX11_ABI ON)
else()
  file(STRINGS "${LENET5_c10}" NEW_ABI_NAMES LIMIT_COUNT 1 REGEX "_ZN3c10[A-Za-z0-9_]*NSt7__cxx1112basic_string")
  if(NEW_ABI_NAMES)
    set(LENET5_CXX11_ABI ON)
  else()
    set(LENET5_CXX11_ABI OFF)
  endif()
endif()

add_library(lenet5_torch INTERFACE)
# A wheel's headers must win over Debian's in /usr/include, whose folder the compiler searches last by itself: naming
# /usr/include explicitly would break #include_next of the C++ library, and is not needed.
if(TORCH_INCLUDE STREQUAL "/usr/include")
  target_include_directories(lenet5_torch SYSTEM INTERFACE "${TORCH_API_INCLUDE}")
else()
  target_include_directories(lenet5_torch SYSTEM INTERFACE "${TORCH_API_INCLUDE}" "${TORCH_INCLUDE}")
endif()
# Also for what sees no libtorch but hands strings to what does.
add_library(lenet5_string_abi INTERFACE)
if(NOT MSVC AND NOT APPLE)
  target_compile_definitions(lenet5_string_abi INTERFACE _GLIBCXX_USE_CXX11_ABI=$<BOOL:${LENET5_CXX11_ABI}>)
endif()
target_link_libraries(lenet5_torch INTERFACE lenet5_string_abi "${LENET5_torch_cpu}" "${LENET5_c10}")
message(STATUS "libtorch ${LENET5_TORCH_VERSION} from ${TORCH_ROOT} (C++${LENET5_CXX_STANDARD}, "
               "new string ABI: ${LENET5_CXX11_ABI})")
