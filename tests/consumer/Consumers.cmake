# Programs that use the library as strangers do: each is configured, built and run in the build tree.
set(consumers ${CMAKE_CURRENT_LIST_DIR})
set(model ${CMAKE_CURRENT_SOURCE_DIR}/golden/samed_window_seed0/model.safetensors)
set(prefix ${CMAKE_CURRENT_BINARY_DIR}/consumer/prefix)

set(options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_BUILD_TYPE=Release -DSAMED_SOURCE=${PROJECT_SOURCE_DIR}
  -DCMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH})
if(CMAKE_CXX_COMPILER_LAUNCHER)
  list(APPEND options -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

foreach(consumer add_subdirectory fetch_content two_tus no_exceptions two_isas find_package)
  set(extra "")
  if(consumer STREQUAL find_package)
    set(extra -Dsamed_ROOT=${prefix})
  endif()
  add_test(NAME consumer_${consumer} COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${consumers}/${consumer} ${CMAKE_CURRENT_BINARY_DIR}/consumer/${consumer}
    --build-generator ${CMAKE_GENERATOR} --build-options ${options} ${extra}
    --test-command hello ${model})
  set_tests_properties(consumer_${consumer} PROPERTIES LABELS "consumer;slow" TIMEOUT 1800)
endforeach()

# An install of the headers alone, built from nothing: what a package of the library would hold.
add_test(NAME consumer_install COMMAND ${CMAKE_CTEST_COMMAND}
  --build-and-test ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/consumer/install
  --build-generator ${CMAKE_GENERATOR} --build-target install
  --build-options ${options} -DCMAKE_INSTALL_PREFIX=${prefix} -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF
    -DSAMED_BUILD_BENCH=OFF -DSAMED_BUILD_TOOLS=OFF)
set_tests_properties(consumer_install PROPERTIES LABELS consumer TIMEOUT 300 FIXTURES_SETUP installed)
set_tests_properties(consumer_find_package PROPERTIES FIXTURES_REQUIRED installed)

find_program(SAMED_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
if(SAMED_NVCC)
  add_test(NAME consumer_nvcc COMMAND ${SAMED_NVCC} -std=c++20 -ccbin ${CMAKE_CXX_COMPILER} -I${PROJECT_SOURCE_DIR}/include
    -c ${consumers}/nvcc/model.cu -o ${CMAKE_CURRENT_BINARY_DIR}/consumer/model.cu.o)
  # Built, not run: most machines with nvcc that run these tests have no device.
  add_test(NAME consumer_cuda COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${consumers}/cuda ${CMAKE_CURRENT_BINARY_DIR}/consumer/cuda
    --build-generator ${CMAKE_GENERATOR} --build-options ${options} -Dsamed_ROOT=${prefix} -DCMAKE_CUDA_COMPILER=${SAMED_NVCC}
      -DCMAKE_CUDA_HOST_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_CUDA_ARCHITECTURES=90)
  set_tests_properties(consumer_cuda PROPERTIES LABELS "consumer;slow" TIMEOUT 1800 FIXTURES_REQUIRED installed)
else()
  add_test(NAME consumer_nvcc COMMAND ${CMAKE_COMMAND} -E echo "skipped: nvcc not found")
  set_tests_properties(consumer_nvcc PROPERTIES SKIP_REGULAR_EXPRESSION "skipped:")
endif()
set_tests_properties(consumer_nvcc PROPERTIES LABELS "consumer;slow" TIMEOUT 1800)
