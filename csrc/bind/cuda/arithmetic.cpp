// Arithmetic on device arrays for NumPy's protocols: relprop/device.py says which function of NumPy's is which operation.
#include "cuda/arithmetic.h"

#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "array.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

cuda::Operation operation_named(const std::string& name) {
#define RELPROP_IS(word) \
  if (name == #word) return cuda::Operation::word;
  FOR_EACH_OPERATION(RELPROP_IS)
#undef RELPROP_IS
  throw py::type_error("np." + name + " is not for arrays in device memory");
}

cuda::Reduction reduction_named(const std::string& name) {
#define RELPROP_IS(word) \
  if (name == #word) return cuda::Reduction::word;
  FOR_EACH_REDUCTION(RELPROP_IS)
#undef RELPROP_IS
  throw py::type_error("np." + name + " is not for arrays in device memory");
}

// What one function works on: arrays on one device, which is the current one until it ends.
class Work {
 public:
  Work(const std::string& name, std::initializer_list<const DeviceArray*> arrays) : name_(name) {
    for (const auto* x : arrays) add(*x);
  }
  void add(const DeviceArray& x) {
    if (x.size() && device_ >= 0 && x.device != device_)
      throw std::runtime_error(name_ + ": one array is on device " + std::to_string(x.device) + " and another on device " +
                               std::to_string(device_) + "; move one to the other");
    if (x.size() && device_ < 0) {
      device_ = x.device;
      current_ = cuda::OnDevice(name(), device_);
    }
    must_wait_ = follow(name(), x, stream()) || must_wait_;
  }
  const char* name() const { return name_.c_str(); }
  cuda::Stream stream() const { return current_stream(name()); }
  template <class F>
  void run(F&& f) {
    const auto on = stream();
    const py::gil_scoped_release release;
    f(on);
    if (must_wait_) cuda::synchronize(name(), on);
  }

 private:
  std::string name_;
  int device_ = -1;
  cuda::OnDevice current_;
  bool must_wait_ = false;
};

// f(T{}) with the type that numbers of a dtype are computed in.
template <class F>
void with_type(const py::dtype& dtype, F&& f) {
  if (dtype.kind() != 'f')
    f(Index{});
  else if (dtype.itemsize() == 8)
    f(double{});
  else
    f(float{});
}

DeviceArray new_result(const Work& work, const py::dtype& dtype, const std::vector<Index>& shape) {
  return new_array(work.name(), dtype.kind(), static_cast<int>(dtype.itemsize()), shape);
}

// operation(operands), each an array or a number, computed in a dtype; into `out`, or a new array of a shape and dtype.
DeviceArray elementwise(const std::string& name, const py::list& given, const std::vector<Index>& shape, const py::dtype& computed,
                        const py::dtype& answered, const std::optional<DeviceArray>& out) {
  const auto operation = operation_named(name);
  if (given.size() > 3) throw py::value_error(name + " of more than three operands");
  Work work(name, {});
  if (out) work.add(*out);
  cuda::Operand operands[3];
  std::vector<DeviceArray> held;
  for (std::size_t k = 0; k < given.size(); ++k) {
    if (!py::isinstance<DeviceArray>(given[k])) {
      operands[k].number = py::cast<double>(given[k]);
      continue;
    }
    auto x = py::cast<DeviceArray>(given[k]);
    if (out && x.owner == out->owner && (x.data != out->data || x.strides != out->strides))  // what is read is written too
      x = elementwise("positive", py::list(py::make_tuple(x)), x.shape, numpy_dtype(x), numpy_dtype(x), std::nullopt);
    work.add(held.emplace_back(x));
    operands[k] = operand_of(x, shape);
  }
  const DeviceArray result = out ? *out : new_result(work, answered, shape);
  with_type(computed, [&](auto zero) {
    work.run([&](auto stream) {
      cuda::elementwise<decltype(zero)>(work.name(), stream, operation, static_cast<int>(given.size()), operands, target_of(result));
    });
  });
  return result;
}

// Over some axes, which stay with length 1.
DeviceArray reduce(const std::string& name, const DeviceArray& x, const std::vector<bool>& over, const py::dtype& answered) {
  const auto reduction = reduction_named(name);
  Work work(name, {&x});
  auto shape = x.shape;
  auto kept = target_of(x).layout, reduced = kept;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (over[d]) shape[d] = 1;
    (over[d] ? kept : reduced).shape[d] = 1;
  }
  const auto result = new_result(work, answered, shape);
  const auto run = [&](auto zero) {
    work.run([&](auto stream) {
      cuda::reduce<decltype(zero)>(work.name(), stream, reduction, operand_of(x, x.shape), kept, reduced, target_of(result));
    });
  };
  x.kind == 'f' ? run(double{}) : run(Index{});
  return result;
}

// a (…, i, k) and b (…, k, j), the axes before alike.
DeviceArray matmul(const DeviceArray& a, const DeviceArray& b, const py::dtype& answered) {
  Work work("matmul", {&a, &b});
  auto shape = a.shape;
  const std::size_t last = shape.size() - 1;
  shape[last] = b.shape[last];
  const auto result = new_result(work, answered, shape);
  auto left = operand_of(a, a.shape), right = operand_of(b, b.shape);
  const Index a_step = std::exchange(left.strides[last], 0), b_step = std::exchange(right.strides[last - 1], 0);
  work.run([&](auto stream) {
    cuda::matmul(work.name(), stream, left, right, a.shape[last], a_step, b_step, target_of(result));
  });
  return result;
}

// Rows of x along its first axis; x and rows in C order.
DeviceArray take(const DeviceArray& x, const DeviceArray& rows) {
  Work work("take", {&x, &rows});
  auto shape = rows.shape;
  shape.insert(shape.end(), x.shape.begin() + 1, x.shape.end());
  const auto result = new_array(work.name(), x.kind, x.width, shape);
  const Index size = x.shape[0] ? x.size() / x.shape[0] : 0;
  work.run([&](auto stream) {
    cuda::take(work.name(), stream, static_cast<const Index*>(rows.data), rows.size(), x.shape[0], size, x.width, x.data, result.data, false);
  });
  return result;
}

// Writes rows of x, all in C order.
void put(const DeviceArray& x, const DeviceArray& rows, const DeviceArray& values) {
  Work work("put", {&x, &rows, &values});
  const Index size = x.shape[0] ? x.size() / x.shape[0] : 0;
  work.run([&](auto stream) {
    cuda::take(work.name(), stream, static_cast<const Index*>(rows.data), rows.size(), x.shape[0], size, x.width, values.data, x.data, true);
  });
}

}  // namespace

void bind_cuda_arithmetic(py::module_& module) {
  using namespace py::literals;
  module.def("elementwise", &elementwise, "name"_a, "operands"_a, "shape"_a, "computed"_a, "answered"_a, "out"_a = py::none());
  module.def("reduce", &reduce, "name"_a, "x"_a, "over"_a, "answered"_a);
  module.def("matmul", &matmul, "a"_a, "b"_a, "answered"_a);
  module.def("take", &take, "x"_a, "rows"_a);
  module.def("put", &put, "x"_a, "rows"_a, "values"_a);
}
