# samed_instantiate(<target> VARIANT samed [sam ...])
#
# Links <target>, an executable or library of yours, to stock models that are compiled once for the whole project: its calls of open(),
# segment(), embed() and decode() on those variants go there, its sources do not change. This saves compile time and nothing else: what
# the stock models do not hold (another variant, pinned facts, another image type) is instantiated from the headers as always.
function(samed_instantiate target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "VARIANT")
  if(NOT TARGET ${target} OR NOT arg_VARIANT OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "write samed_instantiate(<existing target> VARIANT samed [sam ...])")
  endif()
  find_path(SAMED_INCLUDE_DIR samed/core/version.hpp HINTS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../include
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../../include REQUIRED NO_DEFAULT_PATH)
  mark_as_advanced(SAMED_INCLUDE_DIR)

  foreach(variant IN LISTS arg_VARIANT)
    set(models samed_models_${variant})
    if(NOT TARGET ${models})
      set(list ${SAMED_INCLUDE_DIR}/samed/variants/${variant}/extern_templates.hpp)
      if(NOT EXISTS ${list})
        message(FATAL_ERROR "samed_instantiate(${target}): no variant '${variant}' (looked for ${list})")
      endif()
      # The list of declarations, turned into definitions.
      set(source ${CMAKE_CURRENT_BINARY_DIR}/${models}.cpp)
      file(READ ${list} text)
      string(REPLACE "#pragma once\n" "" text "${text}")
      string(REPLACE "extern template" "template" text "${text}")
      file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
      add_library(${models} STATIC ${source})
      target_link_libraries(${models} PUBLIC samed::samed)
      set_target_properties(${models} PROPERTIES POSITION_INDEPENDENT_CODE ON)
      string(TOUPPER ${variant} upper)
      target_compile_definitions(${models} INTERFACE SAMED_EXTERN_${upper})
    endif()
    target_link_libraries(${target} PRIVATE ${models})
  endforeach()
endfunction()
