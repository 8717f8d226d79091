"""`python -m keras_cacnet`, the same as `keras-cacnet`."""

import sys

from keras_cacnet.cli import main

sys.exit(main())
