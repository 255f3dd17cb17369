#include "relprop/merge.h"

#include <deque>
#include <memory>

#include "merge.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Terms = Sum<py::array>;

// A sum in one dtype, as the kernels take it.
template <class T>
class SumFor {
 public:
  SumFor(const Terms& sum, bool has_relevance) : size_{sum.shape.empty() ? 1 : sum.shape[0], elements(sum.shape, 1)} {
    const auto pointer_to = [&](const Constant<py::array>& constant, Index& run) -> const T* {
      if (!constant.array) {
        run = std::max<Index>(1, size_.size);
        return &numbers_.emplace_back(static_cast<T>(constant.number));
      }
      run = 1;
      auto sample = sum.shape;
      sample[0] = 1;
      return kept_alive_.emplace_back(bind::spread(*constant.array, sample)).data();
    };
    for (std::size_t k = 0; k < sum.x.size(); ++k) {
      cpu::SumTerm<T> term{};
      term.x = x_.emplace_back(bind::spread(sum.x[k], sum.shape)).data();
      term.w = pointer_to(sum.weights[k], term.run);
      if (has_relevance) term.r = r_.emplace_back(empty<T>(sum.shape)).mutable_data();
      terms_.push_back(term);
    }
    if (sum.b) b_ = pointer_to(*sum.b, size_.bias_run);
  }
  SumFor(const SumFor&) = delete;

  const cpu::SumSize& size() const { return size_; }
  const cpu::SumTerm<T>* terms() const { return terms_.data(); }
  int count() const { return static_cast<int>(terms_.size()); }
  const T* b() const { return b_; }
  const std::deque<Packed<T>>& x() const { return x_; }
  std::vector<Packed<T>> arrays() const {
    std::vector<Packed<T>> all(x_.begin(), x_.end());
    all.insert(all.end(), kept_alive_.begin(), kept_alive_.end());
    return all;
  }
  const std::deque<Packed<T>>& r() const { return r_; }

 private:
  cpu::SumSize size_;
  std::vector<cpu::SumTerm<T>> terms_;
  const T* b_ = nullptr;
  std::deque<T> numbers_;  // deques: what they hold stays where it is
  std::deque<Packed<T>> kept_alive_, x_, r_;
};

template <class F>
py::object with_dtype_of(const Terms& sum, const std::vector<py::array>& others, F&& f) {
  std::vector<py::array> all(others);
  for (const py::array* x : sum.arrays()) all.push_back(*x);
  return with_widest(all, f);
}

struct MergeOnHost : InHostMemory {
  static py::object forward(const char*, const Terms& sum, bool is_rectified = false) {
    return with_dtype_of(sum, {}, [&](auto zero) -> py::object {
      using T = decltype(zero);
      const auto made = std::make_shared<const SumFor<T>>(sum, false);
      auto z = empty<T>(sum.shape);
      compute(
          [made, is_rectified, out = z.mutable_data()] {
            cpu::merge_forward(made->size(), made->terms(), made->count(), made->b(), is_rectified, out);
          },
          made->arrays(), z);
      return z;
    });
  }

  static py::tuple relevance(const char*, const Terms& sum, const py::object& R_, const py::object& rule, const py::object& z_,
                             const py::object& account) {
    const auto R = array("R", R_, sum.shape);
    const auto z = or_none("z", z_, sum.shape);
    return with_dtype_of(sum, {R, z}, [&](auto zero) -> py::object {
      using T = decltype(zero);
      const Packed<T> R_data(R);
      const auto z_data = packed<T>(z);
      const SumFor<T> made(sum, true);
      std::vector<RuleFor<T>> rules;
      for (const auto& x : made.x()) rules.push_back(rule_for<T>(rule, x));
      if (std::holds_alternative<math::Pass<T>>(rules[0].rule)) {
        if (sum.x.size() == 1) return py::make_tuple(pass(sum.x[0], R_data));
        throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
      }
      const AccountFor<T> kept(account, R, sum.b.has_value());
      {
        py::gil_scoped_release release;
        cpu::merge_relevance(made.size(), made.terms(), made.count(), made.b(), R_data.data(), rules[0].rule, rules[0].bounds,
                             pointer(z_data), kept.pointer());
      }
      kept.write();
      py::tuple parts(sum.x.size());
      for (std::size_t k = 0; k < sum.x.size(); ++k) parts[k] = gathered("", made.r()[k], shape_of(sum.x[k]));
      return parts;
    });
  }
};

}  // namespace

void bind_merge(py::module_& cpu) { def_merge<MergeOnHost>(cpu); }
