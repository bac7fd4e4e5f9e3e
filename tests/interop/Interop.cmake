# Other readers and a browser as oracles of the built tool. Each script says what it misses and is then skipped.
find_program(SAMED_PYTHON python3)
set(SAMED_INTEROP_PYTHON "${SAMED_PYTHON}" CACHE FILEPATH "Python with nibabel, SimpleITK and pydicom for the interop tests")
set(interop ${CMAKE_CURRENT_LIST_DIR})
set(examples ${PROJECT_SOURCE_DIR}/examples/data)
set(out ${CMAKE_CURRENT_BINARY_DIR}/interop)
file(MAKE_DIRECTORY ${out})
set(brain samed-cli segment -m ${examples}/brain.safetensors ${examples}/brain.nii.gz)

if(SAMED_INTEROP_PYTHON)
  add_test(NAME interop_volumes COMMAND ${SAMED_INTEROP_PYTHON} ${interop}/check_volume_inputs.py
    $<TARGET_FILE:samed-cli> ${examples}/brain.safetensors ${examples}/brain.nii.gz 24)
  add_test(NAME interop_memory COMMAND ${SAMED_INTEROP_PYTHON} ${interop}/check_memory.py
    $<TARGET_FILE:samed-cli> ${examples}/brain.safetensors ${out})
  add_test(NAME interop_report_made COMMAND ${brain} -o ${out}/report_labels.nii.gz --report ${out}/report.html)
  add_test(NAME interop_report COMMAND ${SAMED_INTEROP_PYTHON} ${interop}/check_report.py ${out}/report.html ${out}/report.png)
  set_tests_properties(interop_report_made PROPERTIES FIXTURES_SETUP report)
  set_tests_properties(interop_report PROPERTIES FIXTURES_REQUIRED report)
  set_tests_properties(interop_volumes interop_memory interop_report_made interop_report
    PROPERTIES LABELS "interop;slow" TIMEOUT 1800 SKIP_RETURN_CODE 77)
endif()
