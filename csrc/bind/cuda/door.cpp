#include "door.h"

#include <limits>

#include "cuda/shape.h"
#include "cuda/z_box.h"

namespace relprop::bind {

namespace {

std::string place(const Argument& x) {
  return x.host ? "in host memory" : "on device " + std::to_string(x.device->device);
}

py::object check_module() { return py::module_::import("pyref.check"); }

}  // namespace

Argument::Argument(const char* name, const py::object& x, Kind kind) : name(name), object(x) {
  if (x.is_none() && kind == Kind::floats_or_none) return;
  if (bind::is_on_device(x)) {
    device = device_array(name, x);
    const bool fits = kind == Kind::integers ? std::strchr("iu", device->kind) != nullptr
                                             : device->kind == 'f' && (device->width == 4 || device->width == 8);
    if (fits) return;
    if (kind != Kind::integers) check_module().attr("check_float")(name, x);
    throw py::type_error(std::string(name) + " has dtype " + py::str(x.attr("dtype")).cast<std::string>() + ", expected " +
                         (kind == Kind::integers ? "integers" : "float32 or float64"));
  }
  if (kind != Kind::integers) {
    host = floats(name, x);
    return;
  }
  host = py::cast<py::array>(x);
  if (std::strchr("iu", host->dtype().kind()) == nullptr)
    throw py::type_error(std::string(name) + " has dtype " + py::str(host->dtype()).cast<std::string>() + ", expected integers");
}

std::vector<Index> Argument::shape() const { return host ? shape_of(*host) : device ? device->shape : std::vector<Index>{}; }
char Argument::kind() const { return host ? host->dtype().kind() : device->kind; }
int Argument::width() const { return host ? static_cast<int>(host->itemsize()) : device->width; }

void check_shape(const Argument& x, const std::vector<Index>& expected) {
  const auto shape = x.shape();
  bool fits = shape.size() == expected.size();
  for (std::size_t d = 0; fits && d < shape.size(); ++d) fits = expected[d] == any || expected[d] == shape[d];
  if (fits) return;
  py::tuple wanted(expected.size());
  for (std::size_t d = 0; d < expected.size(); ++d)
    wanted[d] = expected[d] == any ? py::object(py::none()) : py::object(py::int_(expected[d]));
  check_module().attr("check_shape")(x.name, x.object, wanted);
}

void check_sample(const char* name, const std::vector<Index>& shape) {
  Index size = 1;
  for (std::size_t d = shape.size() > 1; d < shape.size(); ++d) size *= shape[d];
  if (size > std::numeric_limits<int>::max())
    throw py::value_error(std::string(name) + " has " + std::to_string(size) + " elements in a sample, expected at most " +
                          std::to_string(std::numeric_limits<int>::max()) + " on CUDA");
}

Call::Call(const char* operation, std::initializer_list<const Argument*> arguments) : operation_(operation) {
  const Argument* first = nullptr;
  for (const Argument* x : arguments) {
    if (!*x) continue;
    if (!first) first = x;
    const bool alike = first->host ? bool(x->host) : x->device && (x->device->device == first->device->device || !x->device->size());
    if (!alike)
      throw std::runtime_error(std::string(operation) + ": " + x->name + " is " + place(*x) + " and " + first->name + " is " +
                               place(*first) + "; move one to the other");
    is_double_ = is_double_ || (x->kind() == 'f' && x->width() == 8);
  }
  on_device_ = first && first->device;
  if (on_device_) device_ = cuda::OnDevice(operation, first->device->device);
  stream_ = current_stream(operation);
}

const void* Call::typed(const Argument& x, char kind, int width) {
  if (!x) return nullptr;
  if (x.host) {
    const py::array packed = py::module_::import("numpy").attr("ascontiguousarray")(*x.host, std::string(1, kind) + std::to_string(width));
    held_.push_back(new_array(operation_, kind, width, x.shape()));
    cuda::upload(operation_, held_.back().data, packed.data(), static_cast<std::size_t>(packed.nbytes()), stream_);
    return held_.back().data;
  }
  // Whoever frees it does so in the order of a stream: the array's, or its library's current one, which is ours then.
  const DeviceArray& given = *x.device;
  if (given.stream && given.stream != stream_) {
    cuda::order(operation_, given.stream, stream_);
    must_wait_ = true;
  }
  must_wait_ = must_wait_ || (!py::isinstance<DeviceArray>(x.object) && !is_callers_stream());
  if (given.is_packed() && given.kind == kind && given.width == width) {
    held_.push_back(given);
    return given.data;
  }
  cuda::Layout layout;
  layout.rank = static_cast<int>(given.shape.size());
  if (layout.rank > cuda::Layout::most) throw py::value_error(std::string(x.name) + " has more axes than a device array may have");
  std::copy(given.shape.begin(), given.shape.end(), layout.shape);
  std::copy(given.strides.begin(), given.strides.end(), layout.strides);
  held_.push_back(given);
  DeviceArray packed = new_array(operation_, kind, width, given.shape);
  if (kind == 'i' && given.width == 4)
    cuda::pack(operation_, stream_, layout, static_cast<const std::int32_t*>(given.data), static_cast<Index*>(packed.data));
  else if (kind == 'i')
    cuda::pack(operation_, stream_, layout, static_cast<const Index*>(given.data), static_cast<Index*>(packed.data));
  else if (width == 4)
    cuda::pack(operation_, stream_, layout, static_cast<const float*>(given.data), static_cast<float*>(packed.data));
  else if (given.width == 4)
    cuda::pack(operation_, stream_, layout, static_cast<const float*>(given.data), static_cast<double*>(packed.data));
  else
    cuda::pack(operation_, stream_, layout, static_cast<const double*>(given.data), static_cast<double*>(packed.data));
  held_.push_back(packed);
  return packed.data;
}

template <class T>
const T* Call::in(const Argument& x) {
  return static_cast<const T*>(typed(x, 'f', sizeof(T)));
}
template const float* Call::in(const Argument&);
template const double* Call::in(const Argument&);

const Index* Call::integers(const Argument& x) { return static_cast<const Index*>(typed(x, 'i', 8)); }

template <class T>
DeviceRule<T> device_rule(Call& call, const py::object& rule, const Argument& x) {
  const auto is_bound = [](const char* field) { return std::strcmp(field, "low") == 0 || std::strcmp(field, "high") == 0; };
  DeviceRule<T> made{with_rule<T>(rule, [](const auto& compiled) -> AnyRule<T> { return compiled; }, is_bound), {}};
  const auto* box = std::get_if<math::ZBox<T>>(&made.rule);
  if (!box) return made;
  auto sample = x.shape();
  sample.erase(sample.begin());
  const auto numpy = py::module_::import("numpy");
  const T* bounds[2];
  const char* fields[2] = {"low", "high"};
  for (int k = 0; k < 2; ++k) {
    const py::object given = rule.attr(fields[k]);
    const py::object host = bind::is_on_device(given) ? py::object(to_host(device_array(fields[k], given))) : given;
    py::tuple wanted(sample.size());
    for (std::size_t d = 0; d < sample.size(); ++d) wanted[d] = sample[d];
    const py::array spread = numpy.attr("broadcast_to")(host, wanted);
    const Argument bound(fields[k], numpy.attr("asarray")(spread, py::dtype::of<T>()));
    bounds[k] = call.in<T>(bound);
  }
  made.bounds = {bounds[0], bounds[1]};
  if (box->out_of_range == math::OutOfRange::raise) {
    Index size = 1;
    for (const Index n : sample) size *= n;
    const T* data = call.in<T>(x);
    bool is_inside = true;
    call.run([&] {
      is_inside = cuda::is_inside_box(call.operation(), call.stream(), data, x.shape()[0], size, made.bounds.low, made.bounds.high);
    });
    if (!is_inside) rule.attr("input_part")(0, x.host ? py::object(*x.host) : py::object(to_host(*x.device)));  // raises
  }
  return made;
}
template DeviceRule<float> device_rule(Call&, const py::object&, const Argument&);
template DeviceRule<double> device_rule(Call&, const py::object&, const Argument&);

py::object pass(const Argument& x, const Argument& R) {
  if (x.shape() != R.shape()) throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
  return R.object;
}

}  // namespace relprop::bind
