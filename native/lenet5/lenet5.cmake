# LENET5_ROOM: LeNet-5 (engines, training, evaluation) as a static, position-independent library `lenet5_room`. Plain
# C++17, neither libtorch nor N-API.
if(NOT TARGET lenet5_kernels)
  include("${CMAKE_CURRENT_LIST_DIR}/../kernels/kernels.cmake")
endif()
file(GLOB LENET5_ROOM_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cpp")
add_library(lenet5_room STATIC ${LENET5_ROOM_SOURCES})
set_target_properties(lenet5_room PROPERTIES
  POSITION_INDEPENDENT_CODE ON
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
)
target_compile_features(lenet5_room PUBLIC cxx_std_17)
target_include_directories(lenet5_room PUBLIC "${CMAKE_CURRENT_LIST_DIR}/..")
target_link_libraries(lenet5_room PUBLIC lenet5_kernels)
