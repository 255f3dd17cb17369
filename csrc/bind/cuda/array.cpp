#include "array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "cuda/arithmetic.h"
#include "machine/cuda/graph.h"

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
  const auto numpy = py::module_::import("numpy");
  const py::array as_given = numpy.attr("asarray")(given), x = numpy.attr("ascontiguousarray")(as_given);
  const std::string type = py::str(x.dtype().attr("str"));
  if (type.size() < 3 || std::strchr("fiub", type[1]) == nullptr)
    throw py::type_error("x has dtype " + py::str(x.dtype()).cast<std::string>() + ", expected numbers");
  const std::vector<Index> shape(as_given.shape(), as_given.shape() + as_given.ndim());
  DeviceArray a = new_array("to_device", type[1], static_cast<int>(x.itemsize()), shape);
  const void* host = x.data();
  const auto bytes = static_cast<std::size_t>(x.nbytes());
  {
    const py::gil_scoped_release release;
    cuda::upload("to_device", a.data, host, bytes, a.stream);
  }
  return a;
}

// The caller's stream, and the object that keeps it.
struct Chosen {
  cuda::Stream stream = nullptr;
  std::shared_ptr<void> keeper;
  py::object given = py::none();
};
Chosen& chosen() {
  static thread_local Chosen* stream = nullptr;  // holds nothing of Python's unless a call is running
  if (!stream) stream = new Chosen;
  return *stream;
}

// Chooses the caller's stream, (handle, an object that keeps it), or None for our own again; returns what was before.
py::object use_stream(const py::object& given) {
  const py::object before = chosen().given;
  if (given.is_none()) {
    chosen() = Chosen{};
    return before;
  }
  constexpr std::uintptr_t legacy = 1;  // CUDA's name for the default stream that is not 0, as DLPack asks for
  const auto pair = py::cast<py::tuple>(given);
  chosen() = {reinterpret_cast<cuda::Stream>(std::max(legacy, pair[0].cast<std::uintptr_t>())), keep(pair[1]), given};
  return before;
}

// Memory, and the stream that it is freed on.
struct Owned {
  std::shared_ptr<void> stream;
  cuda::Buffer buffer;
};

// The same memory seen with another shape; strides and offset are counted in elements.
DeviceArray view(const DeviceArray& x, const std::vector<Index>& shape, const std::vector<Index>& strides, Index offset) {
  DeviceArray seen = x;
  seen.shape = shape;
  seen.strides = strides;
  seen.data = static_cast<char*>(x.data) + offset * x.width;
  return seen;
}

// A view of another library's array, or a copy of a NumPy array, that may be read on the current stream.
DeviceArray entered(const py::object& given) {
  DeviceArray x = to_device(given);
  const cuda::OnDevice device("to_device", x.device);
  const auto stream = current_stream("to_device");
  if (x.stream && x.stream != stream) cuda::order("to_device", x.stream, stream);
  x.stream = stream;
  return x;
}

// Copies of NumPy arrays that calls on any stream may read from now on.
std::vector<DeviceArray> lasting(const std::vector<py::object>& arrays) {
  const py::object before = use_stream(py::none());
  std::vector<DeviceArray> all;
  for (const auto& x : arrays) all.push_back(to_device(x));
  if (!all.empty()) cuda::synchronize("to_device", current_stream("to_device"));
  for (auto& x : all) x.stream = nullptr;
  use_stream(before);
  return all;
}

// What is freed on our own stream from now on is freed after what the caller's stream does now.
void own_stream_follows() {
  cuda::order("use_stream", current_stream("use_stream"), cuda::own_stream("use_stream"));
}

// Copies of all of them in host memory, with one wait for each stream.
py::list to_host_together(const std::vector<DeviceArray>& arrays) {
  py::list all;
  std::vector<DeviceArray> held;
  std::set<cuda::Stream> streams;
  for (const auto& x : arrays) {
    const cuda::OnDevice device("to_host", x.device);
    const auto stream = current_stream("to_host");
    if (x.stream) cuda::order("to_host", x.stream, stream);
    const auto& packed = held.emplace_back(in_c_order("to_host", x));
    py::array out(numpy_dtype(x), x.shape);
    cuda::begin_download("to_host", out.mutable_data(), packed.data, static_cast<std::size_t>(out.nbytes()), stream);
    all.append(out);
    streams.insert(stream);
  }
  const py::gil_scoped_release release;
  for (const auto stream : streams) cuda::synchronize("to_host", stream);
  return all;
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

py::dtype numpy_dtype(const DeviceArray& x) { return py::dtype(x.dtype()); }

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
  auto owned = std::make_shared<Owned>(
      Owned{chosen().keeper, cuda::Buffer(operation, static_cast<std::size_t>(a.size()) * static_cast<std::size_t>(width), a.stream)});
  a.data = owned->buffer.data();
  a.device = a.data ? cuda::device_of(a.data) : 0;
  a.owner = owned;
  return a;
}

py::array to_host(const DeviceArray& x) { return py::cast<py::array>(to_host_together({x})[0]); }

DeviceArray in_c_order(const char* operation, const DeviceArray& x) {
  if (x.is_packed()) return x;
  const cuda::OnDevice device(operation, x.device);
  const auto stream = current_stream(operation);
  const bool must_wait = follow(operation, x, stream);
  DeviceArray packed = new_array(operation, x.kind, x.width, x.shape);
  cuda::Operand operands[3];
  operands[0] = operand_of(x, x.shape);
  const py::gil_scoped_release release;
  if (x.kind == 'f' && x.width == 8)
    cuda::elementwise<double>(operation, stream, cuda::Operation::positive, 1, operands, target_of(packed));
  else if (x.kind == 'f')
    cuda::elementwise<float>(operation, stream, cuda::Operation::positive, 1, operands, target_of(packed));
  else
    cuda::elementwise<Index>(operation, stream, cuda::Operation::positive, 1, operands, target_of(packed));
  if (must_wait) cuda::synchronize(operation, stream);
  return packed;
}

bool follow(const char* operation, const DeviceArray& x, cuda::Stream stream) {
  if (!x.stream || x.stream == stream || stream == cuda::recorded()) return false;  // before a recording all is done
  cuda::order(operation, x.stream, stream);
  return true;
}

cuda::Type type_of(const DeviceArray& x) {
  using cuda::Type;
  if (x.kind == 'f' && x.width >= 4) return x.width == 8 ? Type::float64 : Type::float32;
  if (x.kind == 'i' && x.width >= 4) return x.width == 8 ? Type::int64 : Type::int32;
  if (x.kind == 'b') return Type::boolean;
  throw py::type_error("an array in device memory has dtype " + py::str(numpy_dtype(x)).cast<std::string>() +
                       ", which there is no arithmetic for");
}

cuda::Operand operand_of(const DeviceArray& x, const std::vector<Index>& shape) {
  cuda::Operand operand;
  operand.data = x.data;
  operand.type = type_of(x);
  const std::size_t ahead = shape.size() - x.shape.size();
  for (std::size_t d = ahead; d < shape.size(); ++d) operand.strides[d] = x.shape[d - ahead] == 1 ? 0 : x.strides[d - ahead];
  return operand;
}

cuda::Target target_of(const DeviceArray& x) {
  cuda::Target target{x.data, type_of(x), {}};
  target.layout.rank = static_cast<int>(x.shape.size());
  if (target.layout.rank > cuda::Layout::most) throw py::value_error("an array has more axes than kernels on CUDA take");
  for (std::size_t d = 0; d < x.shape.size(); ++d) {
    target.layout.shape[d] = x.shape[d];
    target.layout.strides[d] = x.strides[d];
  }
  return target;
}

cuda::Stream current_stream(const char* operation) { return chosen().stream ? chosen().stream : cuda::own_stream(operation); }

bool is_callers_stream() { return chosen().stream != nullptr; }

void bind_array(py::module_& module) {
  using namespace py::literals;
  py::class_<DeviceArray>(module, "Array", "Numbers in device memory, for any library that speaks DLPack or CUDA's array interface.")
      .def_property_readonly("shape", [](const DeviceArray& x) { return as_tuple(x.shape); })
      .def_property_readonly("dtype", &numpy_dtype)
      .def_property_readonly("ndim", [](const DeviceArray& x) { return x.shape.size(); })
      .def_property_readonly("size", &DeviceArray::size)
      .def_property_readonly("strides",
                             [](const DeviceArray& x) {
                               auto bytes = x.strides;
                               for (Index& s : bytes) s *= x.width;
                               return as_tuple(bytes);
                             })
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
  module.def("to_host_together", &to_host_together, "arrays"_a);
  module.def("to_device", &to_device, "x"_a);
  module.def("entered", &entered, "x"_a);
  module.def("in_c_order", [](const DeviceArray& x) { return in_c_order("in_c_order", x); }, "x"_a);
  module.def("view", &view, "x"_a, "shape"_a, "strides"_a, "offset"_a);
  module.def("lasting", &lasting, "arrays"_a);
  module.def("own_stream_follows", &own_stream_follows);
  module.def("current_device", [] { return cuda::current_device("current_device"); });
  module.def("use_device", [](int device) { return cuda::use_device("use_device", device); }, "device"_a);
  module.def("use_stream", &use_stream, "stream"_a);
}

}  // namespace relprop::bind
