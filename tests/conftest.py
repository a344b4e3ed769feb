"""Eight simulated devices, quick compilation, no cache of it, strict dtypes."""

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
