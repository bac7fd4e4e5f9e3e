# samed_instantiate(<target> VARIANT samed [sam ...])
#
# Makes <target>, a static library with the stock models compiled once. Targets that link it compile open(), segment(), embed() and
# decode() of those variants as calls into it; their sources do not change. This saves compile time and nothing else: whatever the
# library does not hold (another variant, pinned facts, another image type) is instantiated from the headers as always.
function(samed_instantiate target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "VARIANT")
  if(NOT arg_VARIANT OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "samed_instantiate(${target}): write samed_instantiate(<target> VARIANT samed [sam ...])")
  endif()
  find_path(SAMED_INCLUDE_DIR samed/core/version.hpp HINTS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../include
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../../include REQUIRED NO_DEFAULT_PATH)

  add_library(${target} STATIC)
  target_link_libraries(${target} PUBLIC samed::samed)
  foreach(variant IN LISTS arg_VARIANT)
    set(list ${SAMED_INCLUDE_DIR}/samed/variants/${variant}/extern_templates.hpp)
    if(NOT EXISTS ${list})
      message(FATAL_ERROR "samed_instantiate(${target}): no variant '${variant}' (looked for ${list})")
    endif()
    # The list of declarations, turned into definitions.
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}_${variant}.cpp)
    file(READ ${list} text)
    string(REPLACE "#pragma once\n" "" text "${text}")
    string(REPLACE "extern template" "template" text "${text}")
    file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
    target_sources(${target} PRIVATE ${source})
    string(TOUPPER ${variant} upper)
    target_compile_definitions(${target} INTERFACE SAMED_EXTERN_${upper})
  endforeach()
endfunction()
