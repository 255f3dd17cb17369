#include "cuda/merge.h"

#include "bind/merge.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Terms = Sum<Argument>;

template <class T>
cuda::Runs<T> runs_for(Call& call, const Constant<Argument>& constant, std::vector<Index> sample) {
  if (!constant.array) return {nullptr, 1, static_cast<T>(constant.number)};
  sample[0] = 1;
  return {call.in<T>(*constant.array, sample), 1, T(0)};
}

template <class T>
cuda::Sum<T> sum_for(Call& call, const Terms& inputs) {
  check_sample("z", inputs.shape);
  cuda::Sum<T> sum{};
  if (inputs.x.size() > cuda::Sum<T>::most)
    throw py::value_error(std::string(call.operation()) + " has " + std::to_string(inputs.x.size()) + " inputs, expected at most " +
                          std::to_string(cuda::Sum<T>::most) + " on CUDA");
  sum.samples = inputs.shape.empty() ? 1 : inputs.shape[0];
  sum.size = 1;
  for (std::size_t d = 1; d < inputs.shape.size(); ++d) sum.size *= static_cast<int>(inputs.shape[d]);
  sum.count = static_cast<int>(inputs.x.size());
  for (std::size_t k = 0; k < inputs.x.size(); ++k)
    sum.terms[k] = {call.in<T>(inputs.x[k], inputs.shape), runs_for<T>(call, inputs.weights[k], inputs.shape)};
  sum.has_b = inputs.b.has_value();
  if (inputs.b) sum.b = runs_for<T>(call, *inputs.b, inputs.shape);
  return sum;
}

struct MergeOnDevice : InDeviceMemory {
  static py::object forward(const char* operation, const Terms& inputs, bool is_rectified = false) {
    Call call(operation, inputs.arrays());
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      auto sum = sum_for<T>(call, inputs);
      sum.is_rectified = is_rectified;
      const auto z = call.out<T>(inputs.shape);
      call.run([&] { cuda::merge_forward(call.operation(), call.stream(), sum, z.data()); });
      return call.give(z);
    });
  }

  static py::tuple relevance(const char* operation, const Terms& inputs, const py::object& R_, const py::object& rule,
                             const py::object& z_, const py::object& account) {
    const Argument R = array("R", R_, inputs.shape), z = or_none("z", z_, inputs.shape);
    Call call(operation, inputs.arrays({&R, &z}));
    return call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      auto sum = sum_for<T>(call, inputs);
      std::vector<DeviceRule<T>> rules;
      for (int k = 0; k < sum.count; ++k)
        rules.push_back(device_rule<T>(call, rule, inputs.x[static_cast<std::size_t>(k)], sum.terms[k].x, inputs.shape));
      if (std::holds_alternative<math::Pass<T>>(rules.at(0).rule)) {
        if (sum.count == 1) return py::make_tuple(pass(inputs.x[0], R));
        throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
      }
      const T* R_data = call.in<T>(R);
      const AccountIn<T, Call> kept(call, account, R.shape(), sum.has_b);
      std::vector<Output<T>> r;
      for (int k = 0; k < sum.count; ++k) sum.terms[k].r = r.emplace_back(call.out<T>(inputs.shape)).data();
      call.run([&] {
        cuda::merge_relevance(call.operation(), call.stream(), sum, R_data, rules[0].rule, rules[0].bounds, kept.pointer());
      });
      kept.write();
      py::tuple parts(r.size());
      for (std::size_t k = 0; k < r.size(); ++k) parts[k] = call.give(call.gathered(r[k], inputs.x[k].shape()));
      return parts;
    });
  }
};

}  // namespace

void bind_cuda_merge(py::module_& module) { def_merge<MergeOnDevice>(module); }
