"""Eight simulated devices, no compilation cache, strict dtypes."""

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
