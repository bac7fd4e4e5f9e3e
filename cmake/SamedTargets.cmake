# samed::samed  header-only: the library over Eigen, xtensor and threads
# samed::io     adds zlib and image files (SamedIo.cmake)
# samed::dicom  adds DICOM series (SamedDicom.cmake)
# samed::dicom_seg  adds DICOM segmentation objects (SamedDicomSeg.cmake)
# samed::hdf5   adds arrays in .h5 files (SamedHdf5.cmake)
# samed::cuda   the headers, CUDA and cuBLASLt: for .cu files (SamedCuda.cmake)
# A parent project's own Eigen3::Eigen or xtensor target is used where it has one; nothing is downloaded.

if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 3.4 REQUIRED NO_MODULE)
endif()
if(NOT TARGET xtensor)
  find_package(xtensor REQUIRED)
endif()
find_package(Threads REQUIRED)

add_library(samed INTERFACE)
add_library(samed::samed ALIAS samed)
target_compile_features(samed INTERFACE cxx_std_20)
target_include_directories(samed INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(samed INTERFACE Eigen3::Eigen xtensor Threads::Threads)

include(SamedIo)
include(SamedDicom)
include(SamedDicomSeg)
include(SamedHdf5)
include(SamedCuda)
include(SamedInstantiate)
