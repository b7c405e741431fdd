# SPDX-License-Identifier: Apache-2.0
# One library per folder, and the direction of dependencies as something that the compiler enforces.
#
# Includes are written from the repository root ("dataplane/core/channel.h"), but the root is not on the include path.
# Each library instead gets a directory of its own that holds nothing but a link to its folder; whoever links the
# library sees that directory. A header of a library that is not linked is therefore not found.

function(omni_expose target)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set(view ${CMAKE_BINARY_DIR}/include/${target})
  get_filename_component(parent ${view}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  if(NOT EXISTS ${view}/${folder})
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${view}/${folder} SYMBOLIC)
  endif()
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_include_directories(${target} INTERFACE ${view})
  else()
    target_include_directories(${target} PUBLIC ${view})
  endif()
endfunction()

function(omni_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wcast-align
    -Woverloaded-virtual -Wimplicit-fallthrough -Wold-style-cast -Wno-missing-field-initializers
    $<$<BOOL:${OMNI_WERROR}>:-Werror>)
  # GCC 12 warns about std::string's own assignment once it optimises (GCC bug 105651).
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  # ThreadSanitizer does not know fences, and Boost.Asio has some beside its locks.
  if(OMNI_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # And protobuf's map fields have one more member under it, which Debian's library does not have.
    target_compile_options(${target} PRIVATE -Wno-tsan -U__SANITIZE_THREAD__)
  endif()
  target_compile_options(${target} PRIVATE -fstack-protector-strong -fno-omit-frame-pointer)
  if(OMNI_SANITIZE)
    # fuzzer-no-link instruments the code under test; the targets themselves add -fsanitize=fuzzer.
    target_compile_options(${target} PRIVATE -fsanitize=${OMNI_SANITIZE} -fno-sanitize-recover=all
      $<$<BOOL:${OMNI_FUZZ}>:-fsanitize=fuzzer-no-link>)
    target_link_options(${target} PUBLIC -fsanitize=${OMNI_SANITIZE})
  else()
    target_compile_definitions(${target} PRIVATE _FORTIFY_SOURCE=2)
  endif()
endfunction()

# omni_library(NAME SOURCES... DEPENDS...): the library of this folder.
function(omni_library target)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    target_link_libraries(${target} PUBLIC ${arg_DEPENDS})
    omni_compile_options(${target})
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${arg_DEPENDS})
  endif()
  omni_expose(${target})
endfunction()

# omni_executable(NAME SOURCES... DEPENDS...): a program, placed in build/PRESET/bin.
function(omni_executable target)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_DEPENDS})
  omni_compile_options(${target})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  install(TARGETS ${target} RUNTIME DESTINATION bin)
  if(NOT OMNI_SANITIZE)
    target_link_options(${target} PRIVATE -pie -Wl,-z,relro,-z,now)
  endif()
endfunction()

# What scripts/test builds where it does not need everything: fuzz targets, and tests with the label "threads".
add_custom_target(omni_fuzzers)
add_custom_target(omni_threads_tests)

# omni_test(NAME SOURCES... DEPENDS... [LABELS...]): a GoogleTest program and its ctest entry (label: unit). One that
# starts threads has LABELS unit threads, and runs under ThreadSanitizer as well.
function(omni_test target)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(OMNI_FUZZ)
    return()
  endif()
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_DEPENDS} GTest::gmock GTest::gtest_main)
  omni_compile_options(${target})
  # What is tested is in the libraries, as they are shipped; optimising the tests themselves doubles the time of a build.
  target_compile_options(${target} PRIVATE -O0 -U_FORTIFY_SOURCE)
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if("threads" IN_LIST arg_LABELS)
    add_dependencies(omni_threads_tests ${target})
  endif()
  add_test(NAME ${target} COMMAND ${target})
  set_tests_properties(${target} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77 TIMEOUT 300
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()

# omni_fuzz(NAME SOURCES... DEPENDS... [CORPUS dir]): a libFuzzer target; ctest runs it for one second over its corpus.
function(omni_fuzz target)
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;DEPENDS" ${ARGN})
  if(NOT OMNI_FUZZ)
    return()
  endif()
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_DEPENDS})
  omni_compile_options(${target})
  target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
  target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  add_dependencies(omni_fuzzers ${target})
  set(scratch ${CMAKE_BINARY_DIR}/corpus/${target})
  file(MAKE_DIRECTORY ${scratch})
  add_test(NAME ${target} COMMAND ${target} -max_total_time=1 -rss_limit_mb=2048 -timeout=10
    -print_final_stats=1 ${scratch} ${arg_CORPUS})
  set_tests_properties(${target} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()

# omni_benchmark(NAME SOURCES... DEPENDS...): a Google Benchmark program. ctest runs each of its benchmarks once
# (label: bench), so that none rots. Only where figures mean something: not under sanitizers.
function(omni_benchmark target)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  if(OMNI_FUZZ OR OMNI_SANITIZE)
    return()
  endif()
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_DEPENDS} benchmark::benchmark benchmark::benchmark_main)
  omni_compile_options(${target})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  add_test(NAME ${target} COMMAND ${target} --benchmark_min_time=0.0001)
  set_tests_properties(${target} PROPERTIES LABELS bench TIMEOUT 300 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    FAIL_REGULAR_EXPRESSION "ERROR OCCURRED")
endfunction()
