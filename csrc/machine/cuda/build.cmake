# The CUDA kernels: whether they are built, and how. Included by the top CMakeLists.txt.
#
#   RELPROP_CUDA=auto   where there are nvcc and a driver; on: with nvcc alone; off: never
#   RELPROP_CUDA_EMULATE=ON   besides, the same sources for an emulated device on the host: relprop._cuda_emulated,
#                             for tests, in editable installs only

set(RELPROP_CUDA
    "auto"
    CACHE STRING "CUDA kernels: auto (where nvcc and a driver are found), on, off")
set_property(CACHE RELPROP_CUDA PROPERTY STRINGS auto on off)
option(RELPROP_CUDA_EMULATE "Build the CUDA kernels for an emulated device, for tests" OFF)
set(RELPROP_CUDA_ARCHITECTURES
    "80;90a-real"
    CACHE STRING "What the CUDA kernels are compiled for, as CMAKE_CUDA_ARCHITECTURES: 80 is code and PTX")

string(TOLOWER "${RELPROP_CUDA}" cuda_wish)
if(NOT cuda_wish MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "RELPROP_CUDA is ${RELPROP_CUDA}, expected auto, on or off")
endif()

# relprop_has_cuda, and in relprop_cuda_build what `relprop info` says.
set(relprop_has_cuda OFF)
if(cuda_wish STREQUAL "off")
  set(relprop_cuda_build "not built: RELPROP_CUDA=off")
else()
  find_program(relprop_nvidia_smi nvidia-smi)
  find_library(relprop_libcuda NAMES cuda libcuda.so.1)
  if(cuda_wish STREQUAL "auto" AND NOT relprop_nvidia_smi AND NOT relprop_libcuda)
    set(relprop_cuda_build "not built: RELPROP_CUDA=auto found no NVIDIA driver (RELPROP_CUDA=on builds without one)")
  else()
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(relprop_has_cuda ON)
      set(CMAKE_CUDA_ARCHITECTURES "${RELPROP_CUDA_ARCHITECTURES}")
      enable_language(CUDA)
      list(JOIN RELPROP_CUDA_ARCHITECTURES ", " architectures)
      set(relprop_cuda_build "built by nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}")
    elseif(cuda_wish STREQUAL "on")
      message(FATAL_ERROR "RELPROP_CUDA=on, but nvcc was not found; put it on PATH or set CUDACXX")
    else()
      set(relprop_cuda_build "not built: RELPROP_CUDA=auto found a driver but no nvcc")
    endif()
  endif()
endif()
message(STATUS "CUDA kernels: ${relprop_cuda_build}")

file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu csrc/machine/cuda/*.cu)
file(GLOB cuda_bindings CONFIGURE_DEPENDS csrc/bind/cuda/*.cpp)
list(REMOVE_ITEM cuda_bindings "${CMAKE_CURRENT_SOURCE_DIR}/csrc/bind/cuda/emulated.cpp")

if(relprop_has_cuda)
  # For other C++ projects: link relprop::cuda, include "relprop/cuda.h".
  find_package(CUDAToolkit REQUIRED)
  add_library(relprop_cuda STATIC ${cuda_sources})
  add_library(relprop::cuda ALIAS relprop_cuda)
  set_target_properties(relprop_cuda PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden)
  target_compile_features(relprop_cuda PUBLIC cuda_std_17)
  target_link_libraries(
    relprop_cuda
    PRIVATE relprop_sources
    INTERFACE relprop
    PUBLIC CUDA::cudart_static)
  # Products are fused where a kernel says so and nowhere else: formulas round as on the host.
  target_compile_options(relprop_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false "SHELL:--Werror cross-execution-space-call"
                                              $<$<BOOL:${RELPROP_WERROR}>:SHELL:--Werror all-warnings>>)
  if(CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    # The matrix products are one file, which is still compiled when all others are done.
    target_compile_options(relprop_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--split-compile=0>)
  endif()
endif()

# Adds the CUDA kernels to the extension, and the emulated ones beside it.
function(relprop_add_cuda extension)
  set_property(
    SOURCE csrc/bind/module.cpp
    APPEND PROPERTY COMPILE_DEFINITIONS RELPROP_CUDA_BUILD="${relprop_cuda_build}" $<$<BOOL:${relprop_has_cuda}>:RELPROP_HAS_CUDA>)
  if(relprop_has_cuda)
    target_sources(${extension} PRIVATE ${cuda_bindings})
    relprop_compile_together(${extension} device ${cuda_bindings})
    target_link_libraries(${extension} PRIVATE relprop_cuda)
  endif()
  if(NOT (RELPROP_CUDA_EMULATE AND SKBUILD_STATE STREQUAL "editable"))
    return()
  endif()
  set(sources ${cuda_bindings} csrc/bind/cuda/emulated.cpp)
  file(GLOB device CONFIGURE_DEPENDS csrc/machine/cuda/emulate/*.cpp)
  file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/emulated")
  foreach(source IN LISTS cuda_sources)  # as C++, under names that no rule for CUDA takes
    cmake_path(GET source STEM stem)
    file(CREATE_LINK "${source}" "${CMAKE_CURRENT_BINARY_DIR}/emulated/${stem}.cpp" COPY_ON_ERROR SYMBOLIC)
    list(APPEND sources "${CMAKE_CURRENT_BINARY_DIR}/emulated/${stem}.cpp")
  endforeach()
  pybind11_add_module(_cuda_emulated NO_EXTRAS ${sources} ${device})
  target_include_directories(_cuda_emulated BEFORE PRIVATE csrc/machine/cuda/emulate)
  target_link_libraries(_cuda_emulated PRIVATE relprop_sources)
  target_compile_options(_cuda_emulated PRIVATE ${warnings} ${lightly})
  target_precompile_headers(_cuda_emulated PRIVATE ${often_included})
  relprop_compile_together(_cuda_emulated device ${cuda_bindings})
  # Of this one file: it changes with every source, and what it is given to is compiled again.
  set_property(
    SOURCE csrc/bind/cuda/emulated.cpp
    APPEND PROPERTY COMPILE_DEFINITIONS RELPROP_SOURCE_DIGEST="${RELPROP_SOURCE_DIGEST}")
  install(TARGETS _cuda_emulated LIBRARY DESTINATION relprop)
endfunction()
