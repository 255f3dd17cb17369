// pyref's activations as the structs of csrc/math, and the layers that they are, at the door of any device.
#pragma once

#include "broadcast.h"
#include "relprop/activation.h"

namespace relprop::bind {

// Whether an activation is one of pyref's own: another class may define f as it likes.
inline bool is_own(py::handle activation) {
  return py::str(py::type::of(activation).attr("__module__")).equal(py::str("pyref.layers.activation"));
}

// PReLU's slopes are an array, and read by whoever knows of which kind.
inline bool is_prelu(py::handle activation) {
  return py::str(activation.attr("name")).equal(py::str(math::PReLU<float>::name));
}

// Calls f(activation) with the struct of the same name, its fields read from the dataclass; none of PReLU.
template <class T, class F>
auto with_activation(py::handle activation, F&& f) -> decltype(f(math::Identity<T>{})) {
  const auto name = py::cast<std::string>(activation.attr("name"));
#define RELPROP_WHERE_NAMED(Activation)                                                                         \
  if (name == math::Activation<T>::name) {                                                                      \
    math::Activation<T> compiled{};                                                                             \
    if constexpr (!std::is_same_v<math::Activation<T>, math::PReLU<T>>) read_fields(activation, compiled);      \
    return f(compiled);                                                                                         \
  }
  FOR_EACH_ACTIVATION(RELPROP_WHERE_NAMED)
#undef RELPROP_WHERE_NAMED
  throw py::value_error("activation '" + name + "' is not compiled");
}

// An activation in any dtype, for a z of some shape.
class Acting {
 public:
  Acting(const py::object& activation, const std::vector<Index>& shape) {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) (axis == 0 ? samples_ : axis == 1 ? channels_ : positions_) *= shape[axis];
    if (is_prelu(activation)) return;
    with_activation<float>(activation, [&](const auto& compiled) { of_float_ = compiled; });
    with_activation<double>(activation, [&](const auto& compiled) { of_double_ = compiled; });
  }

  // As kernels take it; slopes: null where it is no PReLU.
  template <class T>
  cpu::ActivationOf<T> with(const T* slopes) const {
    cpu::ActivationOf<T> of{samples_, channels_, positions_, {}, slopes};
    if constexpr (std::is_same_v<T, float>)
      of.activation = of_float_;
    else
      of.activation = of_double_;
    return of;
  }

 private:
  Index samples_ = 1, channels_ = 1, positions_ = 1;
  AnyActivation<float> of_float_ = math::PReLU<float>{};
  AnyActivation<double> of_double_ = math::PReLU<double>{};
};

// A Door has the kernels of relprop/activation.h, and takes arrays and computes with them as door.h says. It has with_one(of),
// for a PReLU with one slope for all channels, and takes(operation, activation), whether an activation is compiled or pyref's.
template <class Door>
struct Activations {
  using Array = typename Door::Array;
  using Given = const py::object&;

  // An activation, and the array of its slopes if it is a PReLU.
  struct Layer {
    Array slopes;
    Acting acting;
    bool one_slope;
    template <class T>
    static cpu::ActivationOf<T> of(const Acting& acting, bool one_slope, const T* slopes) {
      const auto made = acting.with(slopes);
      return one_slope ? Door::with_one(made) : made;
    }
  };

  static Layer layer(Given activation, const std::vector<Index>& shape) {
    const Array slopes = Door::or_none("slope", is_prelu(activation) ? py::object(activation.attr("slope")) : py::none());
    const bool one_slope = slopes && shape_of(slopes) == std::vector<Index>{1};
    if (slopes && !one_slope)
      check_shape("slope", shape_of(slopes), shape.size() > 1 ? std::vector<Index>{shape[1]} : std::vector<Index>{});
    return {slopes, Acting(activation, shape), one_slope};
  }

  // What kernel(on, activation, numbers of the arrays but the first, result) makes of arrays, of which the slopes are the first.
  template <Repeats repeats = Repeats::yes, class Kernel>
  static py::object filled(const char* operation, const Layer& layer, const std::vector<const Array*>& arrays,
                           const std::vector<Index>& shape, const Kernel& kernel) {
    auto all = arrays;
    all.insert(all.begin(), &layer.slopes);
    const auto fill = [acting = layer.acting, one_slope = layer.one_slope, kernel](const auto& on, auto in, auto out) {
      kernel(on, Layer::of(acting, one_slope, in[0]), in + 1, out[0]);
    };
    return Door::template filled<repeats>(operation, all, {shape}, fill)[0];
  }

  static py::object forward(Given z_, Given activation) {
    if (!Door::takes("activation_forward", activation)) return reference("activation_forward", z_, activation);
    const Array z = Door::array("z", z_);
    return filled("activation_forward", layer(activation, shape_of(z)), {&z}, shape_of(z),
                  [](const auto& on, const auto& of, auto in, auto a) { Door::activation_forward(on, of, in[0], a); });
  }

  // f′(z) times a signal, which is called `name` and has z's shape.
  static py::object times_derivative(const char* operation, const char* name, Given z_, Given activation, Given signal_) {
    if (!Door::takes(operation, activation)) return reference(operation, z_, activation, signal_);
    const Array z = Door::array("z", z_), signal = Door::array(name, signal_, shape_of(z));
    return filled(operation, layer(activation, shape_of(z)), {&z, &signal}, shape_of(z),
                  [](const auto& on, const auto& of, auto in, auto out) { Door::activation_gradient(on, of, in[0], in[1], out); });
  }
  static py::object gradient(Given z, Given activation, Given G) {
    return times_derivative("activation_gradient", "G", z, activation, G);
  }
  static py::object tangent(Given z, Given activation, Given dz) {
    return times_derivative("activation_tangent", "dz", z, activation, dz);
  }

  static py::object relevance(Given z, Given, Given R) {
    Door::array("R", R, shape_of(Door::array("z", z)));
    return R;
  }

  static py::object ratio(Given z_, Given activation, Given epsilon) {
    if (!Door::takes("activation_ratio", activation)) return reference("activation_ratio", z_, activation, epsilon);
    const Array z = Door::array("z", z_);
    double acting{};
    read_field("epsilon", epsilon, acting);
    bool has_pole = false;
    const auto g = filled<Repeats::no>("activation_ratio", layer(activation, shape_of(z)), {&z}, shape_of(z),
                                       [&](const auto& on, const auto& of, auto in, auto out) {
                                         const auto by = number_like(in[0], acting);
                                         has_pole = Door::activation_has_pole(on, of, in[0], by);
                                         if (!has_pole) Door::activation_ratio(on, of, in[0], by, out);
                                       });
    return has_pole ? reference("activation_ratio", Door::on_host(z), activation, epsilon) : g;  // raises at a pole
  }

  static py::object quotient(Given z, Given z0, Given activation) {
    if (!Door::takes("activation_quotient", activation)) return reference("activation_quotient", z, z0, activation);
    return times_quotient("activation_quotient", z, z0, activation, py::none());
  }
  static py::object multiplier(Given z, Given z0, Given activation, Given M) {
    if (!Door::takes("activation_multiplier", activation)) return reference("activation_multiplier", z, z0, activation, M);
    return times_quotient("activation_multiplier", z, z0, activation, M);
  }

  // The quotient, times M unless that is None.
  static py::object times_quotient(const char* operation, Given z_, Given z0_, Given activation, Given M_) {
    const Array z = Door::array("z", z_), z0 = Door::array("z0", z0_);
    const auto shape = joint_shape_of(shape_of(z), shape_of(z0), activation);
    auto of_one = shape;
    if (!of_one.empty()) of_one[0] = 1;
    const bool one_z0 = shape_of(z0) == of_one && shape_of(z) == shape;
    const Array p = Door::spread(z, shape), p0 = Door::spread(z0, one_z0 ? of_one : shape);
    const Array M = Door::or_none("M", M_, shape);
    return filled(operation, layer(activation, shape), {&p, &p0, &M}, shape, [one_z0](const auto& on, const auto& of, auto in, auto q) {
      Door::activation_quotient(on, of, in[0], in[1], one_z0, in[2], q);
    });
  }

  // The shape that z and z0 broadcast to, as NumPy does it.
  static std::vector<Index> joint_shape_of(const std::vector<Index>& z, const std::vector<Index>& z0, Given activation) {
    try {
      return shape_by(py::module_::import("numpy").attr("broadcast_shapes"), std::vector{z, z0});
    } catch (const py::error_already_set&) {
      reference("activation_quotient", stand_in(z), stand_in(z0), activation);  // raises in pyref's words
      throw;
    }
  }
};

template <class Door>
void def_activation(py::module_& module) {
  using Of = Activations<Door>;
  def(module, "activation_forward", &Of::forward);
  def(module, "activation_gradient", &Of::gradient);
  def(module, "activation_tangent", &Of::tangent);
  def(module, "activation_relevance", &Of::relevance);
  def(module, "activation_ratio", &Of::ratio);
  def(module, "activation_quotient", &Of::quotient);
  def(module, "activation_multiplier", &Of::multiplier);
}

}  // namespace relprop::bind
