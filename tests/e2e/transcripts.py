#!/usr/bin/env python3
"""All dialogues of tests/transcripts against one instance."""
import glob
import os
import sys

import transcript

here = os.path.dirname(os.path.abspath(__file__))
sys.argv[1:] = sorted(glob.glob(os.path.join(here, "..", "transcripts", "*.txt")))
sys.exit(transcript.main())
