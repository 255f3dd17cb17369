#include "door.h"

#include <pybind11/stl.h>

#include <limits>

#include "cuda/z_box.h"

namespace relprop::bind {

namespace {

std::string place(const Argument& x) {
  return x.host ? "in host memory" : "on device " + std::to_string(x.device->device);
}

bool is_float(const py::array& x) { return x.dtype().kind() == 'f'; }

// pack of what is there, whatever its dtype.
template <class From, class To>
void pack_from(const char* operation, cuda::Stream stream, const cuda::Layout& layout, const DeviceArray& from, const DeviceArray& to) {
  cuda::pack(operation, stream, layout, static_cast<const From*>(from.data), static_cast<To*>(to.data));
}
void pack_integers(const char* operation, cuda::Stream stream, const cuda::Layout& layout, const DeviceArray& from, const DeviceArray& to) {
  const bool is_signed = from.kind == 'i';
  switch (from.width) {
    case 1: return (is_signed ? pack_from<std::int8_t, Index> : pack_from<std::uint8_t, Index>)(operation, stream, layout, from, to);
    case 2: return (is_signed ? pack_from<std::int16_t, Index> : pack_from<std::uint16_t, Index>)(operation, stream, layout, from, to);
    case 4: return (is_signed ? pack_from<std::int32_t, Index> : pack_from<std::uint32_t, Index>)(operation, stream, layout, from, to);
    default: return pack_from<Index, Index>(operation, stream, layout, from, to);
  }
}

py::object check_module() { return py::module_::import("pyref.check"); }

}  // namespace

Argument::Argument(const char* name, const py::object& x, bool may_be_none) : name(name), object(x) {
  if (x.is_none() && may_be_none) return;
  if (!bind::is_on_device(x)) {
    host = floats(name, x);
    return;
  }
  device = device_array(name, x);
  if (device->kind == 'f' && (device->width == 4 || device->width == 8)) return;
  check_module().attr("check_float")(name, x);
  throw py::type_error(std::string(name) + " has dtype " + device->dtype() + ", expected float32 or float64");
}

Argument Argument::of_integers(const char* name, const py::object& x) {
  Argument made(name, py::none(), true);
  made.object = x;
  if (bind::is_on_device(x))
    made.device = device_array(name, x);
  else
    made.host = py::cast<py::array>(x);
  const char kind = made.device ? made.device->kind : made.host->dtype().kind();
  if (kind == 'i' || kind == 'u') return made;
  const std::string dtype = made.device ? made.device->dtype() : py::str(made.host->dtype()).cast<std::string>();
  throw py::type_error(std::string(name) + " has dtype " + dtype + ", expected integers");
}

std::vector<Index> Argument::shape() const { return spread ? *spread : host ? shape_of(*host) : device ? device->shape : std::vector<Index>{}; }
bool Argument::is_double() const {
  return host ? is_float(*host) && host->itemsize() == 8 : device && device->kind == 'f' && device->width == 8;
}

py::array on_host(const Argument& x) { return x.host ? *x.host : to_host(*x.device); }

void check_sample(const char* name, const std::vector<Index>& shape) {
  Index size = 1;
  for (std::size_t d = shape.size() > 1; d < shape.size(); ++d) size *= shape[d];
  if (size > std::numeric_limits<int>::max())
    throw py::value_error(std::string(name) + " has " + std::to_string(size) + " elements in a sample, expected at most " +
                          std::to_string(std::numeric_limits<int>::max()) + " on CUDA");
}

cuda::Layout layout_of(const std::vector<Index>& shape) {
  cuda::Layout layout;
  layout.rank = static_cast<int>(shape.size());
  if (layout.rank > cuda::Layout::most) throw py::value_error("an array has more axes than kernels on CUDA take");
  Index apart = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    layout.shape[d] = shape[d];
    layout.strides[d] = apart;
    apart *= shape[d];
  }
  return layout;
}

Call::Call(const char* operation, const std::vector<const Argument*>& arguments) : operation_(operation) {
  const Argument* first = nullptr;
  for (const Argument* x : arguments) {
    if (!*x) continue;
    if (!first) first = x;
    const bool alike = first->host ? bool(x->host) : x->device && (x->device->device == first->device->device || !x->device->size());
    if (!alike)
      throw std::runtime_error(std::string(operation) + ": " + x->name + " is " + place(*x) + " and " + first->name + " is " +
                               place(*first) + "; move one to the other");
    is_double_ = is_double_ || x->is_double();
  }
  on_device_ = first && first->device;
  if (on_device_) device_ = cuda::OnDevice(operation, first->device->device);
  stream_ = current_stream(operation);
}

// The argument as it lies in device memory.
DeviceArray Call::present(const Argument& x, char kind, int width) {
  DeviceArray given;
  if (x.host) {
    for (const Copy& copy : copies_)
      if (copy.of.is(x.object) && copy.there.kind == kind && copy.there.width == width) return copy.there;
    const py::array packed = py::module_::import("numpy").attr("ascontiguousarray")(*x.host, std::string(1, kind) + std::to_string(width));
    given = new_array(operation_, kind, width, shape_of(*x.host));
    cuda::upload(operation_, given.data, packed.data(), static_cast<std::size_t>(packed.nbytes()), stream_);
    copies_.push_back({x.object, given});
  } else {
    // Whoever frees it does so in the order of a stream: the array's, or its library's current one, which is ours then.
    given = *x.device;
    must_wait_ = follow(operation_, given, stream_) || must_wait_ || (!py::isinstance<DeviceArray>(x.object) && !is_callers_stream());
  }
  held_.push_back(given);
  return given;
}

// The same in C order, spread to a shape, with numbers of a width.
DeviceArray Call::packed(const DeviceArray& given, char kind, int width, const std::vector<Index>& shape) {
  if (given.is_packed() && given.width == width && given.shape == shape) return given;
  cuda::Layout layout = layout_of(shape);
  const std::size_t ahead = shape.size() - given.shape.size();
  for (std::size_t d = 0; d < shape.size(); ++d)
    layout.strides[d] = d < ahead || given.shape[d - ahead] == 1 ? 0 : given.strides[d - ahead];
  const DeviceArray packed = new_array(operation_, kind, width, shape);
  if (kind == 'i')
    pack_integers(operation_, stream_, layout, given, packed);
  else if (width == 4)
    pack_from<float, float>(operation_, stream_, layout, given, packed);
  else if (given.width == 4)
    pack_from<float, double>(operation_, stream_, layout, given, packed);
  else
    pack_from<double, double>(operation_, stream_, layout, given, packed);
  held_.push_back(packed);
  return packed;
}

// A bound of a box, one number per element of a sample. A number is spread where it is read, without a copy from here, and
// an array that is there in that form stays as it is.
template <class T>
py::object spread_bound(const Call& call, const char* field, const py::object& given, const std::vector<Index>& sample) {
  if (PyFloat_Check(given.ptr()) || PyLong_Check(given.ptr())) {
    const DeviceArray spread = new_array(call.operation(), 'f', sizeof(T), sample);
    cuda::Operand operands[3];
    operands[0].number = py::cast<double>(given);
    cuda::elementwise<T>(call.operation(), call.stream(), cuda::Operation::positive, 1, operands, target_of(spread));
    return py::cast(spread);
  }
  const bool is_there = bind::is_on_device(given);
  if (is_there) {
    const DeviceArray bound = device_array(field, given);
    if (bound.kind == 'f' && bound.width == static_cast<int>(sizeof(T)) && bound.shape == sample) return given;
  }
  const auto numpy = py::module_::import("numpy");
  const py::object host = is_there ? py::object(to_host(device_array(field, given))) : given;
  py::tuple wanted(sample.size());
  for (std::size_t d = 0; d < sample.size(); ++d) wanted[d] = sample[d];
  return numpy.attr("asarray")(numpy.attr("broadcast_to")(host, wanted), py::dtype::of<T>());
}

template <class T>
DeviceRule<T> device_rule(Call& call, const py::object& rule, const Argument& x, const T* data, const std::vector<Index>& shape) {
  DeviceRule<T> made{any_rule<T>(rule), {}};
  const auto* box = std::get_if<math::ZBox<T>>(&made.rule);
  if (!box) return made;
  auto sample = shape;
  sample.erase(sample.begin());
  const T* bounds[2];
  const char* fields[2] = {"low", "high"};
  for (int k = 0; k < 2; ++k) {
    const Argument bound(fields[k], spread_bound<T>(call, fields[k], rule.attr(fields[k]), sample));
    bounds[k] = call.in<T>(bound);
  }
  made.bounds = {bounds[0], bounds[1]};
  if (box->out_of_range == math::OutOfRange::raise) {
    Index size = 1;
    for (const Index n : sample) size *= n;
    bool is_inside = true;
    call.run([&] {
      is_inside = cuda::is_inside_box(call.operation(), call.stream(), data, shape[0], size, made.bounds.low, made.bounds.high);
    });
    if (!is_inside) rule.attr("input_part")(0, on_host(x));  // raises
  }
  return made;
}
template DeviceRule<float> device_rule(Call&, const py::object&, const Argument&, const float*, const std::vector<Index>&);
template DeviceRule<double> device_rule(Call&, const py::object&, const Argument&, const double*, const std::vector<Index>&);

py::object pass(const Argument& x, const Argument& R) {
  if (x.shape() != R.shape()) throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
  return R.object;
}

}  // namespace relprop::bind
