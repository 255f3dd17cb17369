#include "array.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cuda/shape.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// ── DLPack, version 0: the parts that we use ──

struct DLDevice {
  std::int32_t type, id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
constexpr std::int32_t on_cuda = 2, managed = 13;
constexpr const char *fresh = "dltensor", *used = "used_dltensor";
constexpr char kinds[] = {'i', 'u', 'f'};  // by DLPack's code

std::vector<Index> c_strides(const std::vector<Index>& shape) {
  std::vector<Index> strides(shape.size());
  Index apart = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = apart;
    apart *= shape[d];
  }
  return strides;
}

py::tuple as_tuple(const std::vector<Index>& v) {
  py::tuple all(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) all[i] = v[i];
  return all;
}

py::dtype numpy_dtype(const DeviceArray& x) { return py::dtype(x.dtype()); }

// Keeps a Python object until nobody needs its memory; the last to let go may hold no GIL.
std::shared_ptr<void> keep(py::object object) {
  return {new py::object(std::move(object)), [](void* held) {
            const py::gil_scoped_acquire gil;
            delete static_cast<py::object*>(held);
          }};
}

DeviceArray from_interface(const char* name, const py::object& x) {
  const py::dict about = x.attr("__cuda_array_interface__");
  DeviceArray a;
  const auto type = about["typestr"].cast<std::string>();
  a.kind = type.at(1);
  a.width = std::stoi(type.substr(2));
  if (type[0] == '>') throw py::type_error(std::string(name) + " has bytes in the other order");
  for (const auto n : py::cast<py::tuple>(about["shape"])) a.shape.push_back(n.cast<Index>());
  a.strides = c_strides(a.shape);
  if (about.contains("mask") && !about["mask"].is_none())
    throw py::type_error(std::string(name) + " is a masked array, whose mask would be lost");
  if (about.contains("strides") && !about["strides"].is_none()) {
    a.strides.clear();
    for (const auto n : py::cast<py::tuple>(about["strides"])) {
      const auto bytes = n.cast<Index>();
      if (bytes % a.width) throw py::type_error(std::string(name) + " has strides that are no whole numbers of its elements");
      a.strides.push_back(bytes / a.width);
    }
  }
  a.data = reinterpret_cast<void*>(py::cast<py::tuple>(about["data"])[0].cast<std::uintptr_t>());
  a.device = a.size() ? cuda::device_of(a.data) : 0;
  if (about.contains("stream") && !about["stream"].is_none())
    a.stream = reinterpret_cast<cuda::Stream>(about["stream"].cast<std::uintptr_t>());
  a.owner = keep(x);
  return a;
}

DeviceArray from_capsule(const char* name, const py::object& x) {
  using namespace py::literals;
  const auto stream = reinterpret_cast<std::uintptr_t>(current_stream("__dlpack__"));
  const py::object capsule = x.attr("__dlpack__")("stream"_a = stream);  // x is ready for this stream when we get it
  auto* managed_tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), fresh));
  if (!managed_tensor) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), used);
  DeviceArray a;
  a.owner = {managed_tensor, [](void* held) {
               const py::gil_scoped_acquire gil;
               auto* tensor = static_cast<DLManagedTensor*>(held);
               if (tensor->deleter) tensor->deleter(tensor);
             }};
  const DLTensor& t = managed_tensor->tensor;
  if (t.dtype.code > 2 || t.dtype.lanes != 1 || t.dtype.bits % 8)
    throw py::type_error(std::string(name) + " holds numbers of a kind that is not known here");
  a.kind = kinds[t.dtype.code];
  a.width = t.dtype.bits / 8;
  a.shape.assign(t.shape, t.shape + t.ndim);
  a.strides = t.strides ? std::vector<Index>(t.strides, t.strides + t.ndim) : c_strides(a.shape);
  a.data = static_cast<char*>(t.data) + t.byte_offset;
  a.device = t.device.id;
  a.stream = current_stream("__dlpack__");
  return a;
}

// What we hand to another library.
struct Exported {
  DLManagedTensor managed;
  DeviceArray array;
};

py::capsule to_capsule(const DeviceArray& x, const py::object& stream, const py::object&, const py::object&, const py::object&) {
  // 1 and 2 are CUDA's legacy and per-thread default streams, -1 asks for no ordering.
  const Index consumer = stream.is_none() ? 1 : stream.cast<Index>();
  if (consumer != -1 && x.stream) cuda::order("__dlpack__", x.stream, reinterpret_cast<cuda::Stream>(consumer));
  auto* exported = new Exported{{}, x};
  DeviceArray& a = exported->array;
  const std::uint8_t code = a.kind == 'f' ? 2 : a.kind == 'i' ? 0 : 1;
  exported->managed.tensor = {a.data,         {on_cuda, a.device}, static_cast<std::int32_t>(a.shape.size()),
                              {code, static_cast<std::uint8_t>(8 * a.width), 1}, a.shape.data(), a.strides.data(), 0};
  exported->managed.context = exported;
  exported->managed.deleter = [](DLManagedTensor* t) { delete static_cast<Exported*>(t->context); };
  return py::capsule(&exported->managed, fresh, [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, fresh)) return;  // somebody took it, and will delete it
    auto* t = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, fresh));
    t->deleter(t);
  });
}

py::dict interface(const DeviceArray& x) {
  using namespace py::literals;
  std::vector<Index> bytes = x.strides;
  for (Index& s : bytes) s *= x.width;
  const std::string type = std::string(x.width == 1 ? "|" : "<") + x.kind + std::to_string(x.width);
  const py::object stream = x.stream ? py::object(py::int_(reinterpret_cast<std::uintptr_t>(x.stream))) : py::object(py::none());
  return py::dict("shape"_a = as_tuple(x.shape), "typestr"_a = type, "strides"_a = as_tuple(bytes), "version"_a = 3,
                  "data"_a = py::make_tuple(reinterpret_cast<std::uintptr_t>(x.data), false), "stream"_a = stream);
}

// A copy in device memory.
DeviceArray to_device(const py::object& given) {
  if (is_on_device(given)) return device_array("x", given);
  const py::array x = py::module_::import("numpy").attr("ascontiguousarray")(given);
  const std::string type = py::str(x.dtype().attr("str"));
  if (type.size() < 3 || std::strchr("fiu", type[1]) == nullptr)
    throw py::type_error("x has dtype " + py::str(x.dtype()).cast<std::string>() + ", expected numbers");
  const std::vector<Index> shape = py::isinstance<py::array>(given) && py::cast<py::array>(given).ndim() == 0
                                       ? std::vector<Index>{}
                                       : std::vector<Index>(x.shape(), x.shape() + x.ndim());
  DeviceArray a = new_array("to_device", type[1], static_cast<int>(x.itemsize()), shape);
  const void* host = x.data();
  const auto bytes = static_cast<std::size_t>(x.nbytes());
  {
    const py::gil_scoped_release release;
    cuda::upload("to_device", a.data, host, bytes, a.stream);
  }
  return a;
}

thread_local cuda::Stream chosen_stream = nullptr;

// Chooses the caller's stream, or None for our own again; returns the one that was chosen before.
py::object use_stream(const py::object& handle) {
  const py::object before =
      chosen_stream ? py::object(py::int_(reinterpret_cast<std::uintptr_t>(chosen_stream))) : py::object(py::none());
  constexpr std::uintptr_t legacy = 1;  // CUDA's name for the default stream that is not 0, as DLPack asks for
  const auto chosen = handle.is_none() ? 0 : std::max(legacy, handle.cast<std::uintptr_t>());
  chosen_stream = reinterpret_cast<cuda::Stream>(chosen);
  return before;
}

}  // namespace

namespace relprop::bind {

Index DeviceArray::size() const {
  Index n = 1;
  for (const Index s : shape) n *= s;
  return n;
}

bool DeviceArray::is_packed() const {
  Index apart = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != apart) return size() == 0;
    apart *= shape[d];
  }
  return true;
}

std::string DeviceArray::dtype() const { return std::string(1, kind) + std::to_string(width); }

bool is_on_device(const py::object& x) {
  if (py::isinstance<DeviceArray>(x)) return true;
  if (py::isinstance<py::array>(x)) return false;
  if (py::hasattr(x, "__cuda_array_interface__")) return true;
  if (!py::hasattr(x, "__dlpack_device__")) return false;
  const auto device = py::cast<py::tuple>(x.attr("__dlpack_device__")());
  const int type = py::int_(py::object(device[0])).cast<int>();
  return type == on_cuda || type == managed;
}

DeviceArray device_array(const char* name, const py::object& x) {
  if (py::isinstance<DeviceArray>(x)) return py::cast<DeviceArray>(x);
  return py::hasattr(x, "__cuda_array_interface__") ? from_interface(name, x) : from_capsule(name, x);
}

DeviceArray new_array(const char* operation, char kind, int width, const std::vector<Index>& shape) {
  DeviceArray a;
  a.kind = kind;
  a.width = width;
  a.shape = shape;
  a.strides = c_strides(shape);
  a.stream = current_stream(operation);
  auto buffer = std::make_shared<cuda::Buffer>(operation, static_cast<std::size_t>(a.size()) * static_cast<std::size_t>(width), a.stream);
  a.data = buffer->data();
  a.device = a.data ? cuda::device_of(a.data) : 0;
  a.owner = buffer;
  return a;
}

py::array to_host(const DeviceArray& x) {
  if (!x.is_packed()) throw py::value_error("only arrays in C order are copied to the host");
  py::array out(numpy_dtype(x), x.shape);
  const auto bytes = static_cast<std::size_t>(x.size()) * static_cast<std::size_t>(x.width);
  void* host = out.mutable_data();
  {
    const py::gil_scoped_release release;
    if (x.stream) cuda::order("to_host", x.stream, current_stream("to_host"));
    cuda::download("to_host", host, x.data, bytes, current_stream("to_host"));
  }
  return out;
}

cuda::Stream current_stream(const char* operation) { return chosen_stream ? chosen_stream : cuda::own_stream(operation); }

bool is_callers_stream() { return chosen_stream != nullptr; }

void bind_array(py::module_& module) {
  using namespace py::literals;
  py::class_<DeviceArray>(module, "Array", "Numbers in device memory, for any library that speaks DLPack or CUDA's array interface.")
      .def_property_readonly("shape", [](const DeviceArray& x) { return as_tuple(x.shape); })
      .def_property_readonly("dtype", &numpy_dtype)
      .def_property_readonly("ndim", [](const DeviceArray& x) { return x.shape.size(); })
      .def_property_readonly("size", &DeviceArray::size)
      .def_property_readonly("device", [](const DeviceArray& x) { return x.device; })
      .def("__len__",
           [](const DeviceArray& x) {
             if (x.shape.empty()) throw py::type_error("an array without axes has no length");
             return x.shape[0];
           })
      .def("__repr__",
           [](const DeviceArray& x) {
             return "Array(shape=" + py::str(as_tuple(x.shape)).cast<std::string>() + ", dtype=" +
                    py::str(numpy_dtype(x)).cast<std::string>() + ", device=" + std::to_string(x.device) + ")";
           })
      .def("__dlpack__", &to_capsule, py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(),
           "dl_device"_a = py::none(), "copy"_a = py::none())
      .def("__dlpack_device__", [](const DeviceArray& x) { return py::make_tuple(on_cuda, x.device); })
      .def_property_readonly("__cuda_array_interface__", &interface);
  module.def("to_host", &to_host, "x"_a);
  module.def("to_device", &to_device, "x"_a);
  module.def("use_stream", &use_stream, "handle"_a);
}

}  // namespace relprop::bind
