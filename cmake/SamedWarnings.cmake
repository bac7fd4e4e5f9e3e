# Our own targets compile without a warning; consumers keep their flags.
function(samed_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC bug 105651: std::string's operator+ "may overlap" with itself.
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()
