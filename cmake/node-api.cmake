# Target lenet5_node_api: headers of Node-API and node-addon-api. cmake-js hands them over (CMAKE_JS_INC); a plain cmake
# takes them from node_modules.
if(NOT CMAKE_JS_INC)
  execute_process(COMMAND node -p "require('node-api-headers').include_dir + ';' + require('node-addon-api').include_dir"
                  WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" OUTPUT_VARIABLE CMAKE_JS_INC
                  OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE NODE_API_FAILED)
  if(NODE_API_FAILED)
    message(FATAL_ERROR "Expected node-api-headers and node-addon-api in node_modules: run npm ci")
  endif()
endif()

add_library(lenet5_node_api INTERFACE)
target_include_directories(lenet5_node_api SYSTEM INTERFACE ${CMAKE_JS_INC})
# The last: an error of a call that ends because its worker thread is terminated reaches nobody, and must not end the process.
target_compile_definitions(lenet5_node_api INTERFACE NAPI_VERSION=9 NODE_ADDON_API_CPP_EXCEPTIONS_ALL
                           NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS)
target_link_libraries(lenet5_node_api INTERFACE ${CMAKE_JS_LIB})

if(MSVC AND CMAKE_JS_NODELIB_DEF AND CMAKE_JS_NODELIB_TARGET)
  execute_process(COMMAND ${CMAKE_AR} /def:${CMAKE_JS_NODELIB_DEF} /out:${CMAKE_JS_NODELIB_TARGET}
                  ${CMAKE_STATIC_LINKER_FLAGS})
endif()
# Node's own symbols are resolved when Node opens the addon.
if(APPLE)
  target_link_options(lenet5_node_api INTERFACE -undefined dynamic_lookup)
endif()
