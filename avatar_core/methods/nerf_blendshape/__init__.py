"""NeRFBlendShape (Gao et al., ACM TOG 41(6), 2022): a head whose radiance field is a mixture of hash tables.

Expression coefficients mix the tables, once a frame; two small networks turn features of the mixture into density and
colour. The head's own frame is y up, facing +z, metres; the control `head` places it in the world.
"""
