# samed::cuda: what a .cu needs to run models on a GPU (cuda.cuh): the headers, threads, the CUDA runtime and cuBLASLt; not Eigen and
# xtensor, which such a file need not see. Defined only in a project with the language CUDA: project(... LANGUAGES CXX CUDA).
set(SAMED_CUDA AUTO CACHE STRING "Build samed::cuda: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE SAMED_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT TARGET samed::cuda AND SAMED_CUDA)
  if(CMAKE_CUDA_COMPILER)
    find_package(CUDAToolkit 12.0 QUIET)
  endif()
  if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cudart_static AND TARGET CUDA::cublasLt)
    add_library(samed_cuda INTERFACE)
    add_library(samed::cuda ALIAS samed_cuda)
    # Above this file in the source tree, in the prefix of an install.
    get_filename_component(samed_include ${CMAKE_CURRENT_LIST_DIR}/../include ABSOLUTE)
    if(NOT EXISTS ${samed_include}/samed/core/version.hpp)
      get_filename_component(samed_include ${CMAKE_CURRENT_LIST_DIR}/../../../include ABSOLUTE)
    endif()
    target_include_directories(samed_cuda INTERFACE ${samed_include})
    # The runtime that CMake links to a target with a .cu anyway: shared where the target asks for it, else static. Never both.
    set(samed_runtime $<UPPER_CASE:$<TARGET_PROPERTY:CUDA_RUNTIME_LIBRARY>>)
    target_link_libraries(samed_cuda INTERFACE Threads::Threads CUDA::cublasLt
      $<IF:$<STREQUAL:${samed_runtime},SHARED>,CUDA::cudart,CUDA::cudart_static>)
    target_compile_features(samed_cuda INTERFACE cxx_std_20)
    if(cuda_std_20 IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
      target_compile_features(samed_cuda INTERFACE cuda_std_20)
    else()  # CMake before 3.26 does not know that nvcc speaks it
      target_compile_options(samed_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
    endif()
    target_compile_definitions(samed_cuda INTERFACE SAMED_HAS_CUDA=1)
  elseif(SAMED_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SAMED_CUDA is ON, but this project has not the language CUDA, or its toolkit is older than 12.0 or lacks "
      "cuBLASLt")
  endif()
endif()
